import { check } from './errors.ts';
import { decodeFileName } from './file-names.ts';
import { syscall } from './libc.ts';
import { allocate } from './memory.ts';
import { SYS } from './syscalls.ts';

/** One name of a directory. */
export interface DirectoryEntry {
  readonly name: string;
  /** DT_* of <dirent.h>, which is `mode >> 12`; 0 where the file system does not say. */
  readonly type: number;
}

const buffer = allocate(64 * 1024);
const DOT = 0x2e;

/**
 * getdents64(2) to the end: every name but `.` and `..`, in the order of the file system.
 *
 * @param fd - of a directory, open for reading, at its beginning
 */
export function readDirectory(fd: number): DirectoryEntry[] {
  const { bytes } = buffer;
  const entries: DirectoryEntry[] = [];
  for (;;) {
    const length = check('getdents64', syscall(SYS.getdents64, fd, buffer.address, bytes.length));
    if (length === 0) return entries;
    for (let at = 0; at < length; ) {
      const start = at + 19;
      const type = bytes[at + 18]!;
      at += bytes[at + 16]! | (bytes[at + 17]! << 8);
      const isDots =
        bytes[start] === DOT && (bytes[start + 1] === 0 || (bytes[start + 1] === DOT && bytes[start + 2] === 0));
      if (!isDots) entries.push({ name: decodeFileName(bytes.subarray(start, bytes.indexOf(0, start))), type });
    }
  }
}
