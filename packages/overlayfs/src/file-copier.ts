import {
  allocate,
  check,
  ERRNO,
  ioctl,
  mknodAt,
  O,
  OwnedFd,
  openAt,
  readlinkAt,
  S,
  SEEK,
  type Stat,
  SYS,
  statFd,
  symlinkAt,
  syscall,
} from '@ns/libc';
import { inodeKey, isRegular, isSymlink } from './file-type.ts';
import { openRegular, openUnlessLeased } from './open-regular.ts';
import type { Steps } from './time-slices.ts';

/** <linux/fs.h> _IOW(0x94, 9, int): share the blocks of another file, copy-on-write. */
const FICLONE = 0x40049409;
/** What is copied between two breaths. */
const PIECE = 4 * 1024 * 1024;

/** Ways to copy content, the best first; `reflink` takes no space. */
export type CopyMethod = 'reflink' | 'copy_file_range' | 'read-write';

const unsupported = new Set(
  [ERRNO.EOPNOTSUPP, ERRNO.EXDEV, ERRNO.EINVAL, ERRNO.ENOTTY, ERRNO.ENOSYS, ERRNO.EPERM, ERRNO.ETXTBSY].map(
    (errno) => -errno,
  ),
);

const changing = { hint: 'The tree changes while it is copied: stop or pause what writes to it' };

/** Copies files between two directories, remembering which way works between their file systems. */
export class FileCopier {
  #method: CopyMethod = 'reflink';
  readonly #buffer = allocate(256 * 1024);

  /** The way the last file with content was copied. */
  get method(): CopyMethod {
    return this.#method;
  }

  /**
   * Makes `toName` what `fromName` is, any kind but a directory, without its metadata; `toName` must not exist. A regular file that
   * was replaced by something else since `stat` was taken is refused.
   */
  *copy(fromDirFd: number, fromName: string, stat: Stat, toDirFd: number, toName: string): Steps<never> {
    if (isSymlink(stat)) {
      check('symlinkat', symlinkAt(readlinkAt(fromDirFd, fromName) ?? '', toDirFd, toName), { path: toName });
    } else if (!isRegular(stat)) {
      const { rdevMajor, rdevMinor } = stat;
      check('mknodat', mknodAt(toDirFd, toName, (stat.mode & S.IFMT) | 0o600, rdevMajor, rdevMinor), { path: toName });
    } else yield* this.#content(fromDirFd, fromName, stat, toDirFd, toName);
  }

  *#content(fromDirFd: number, fromName: string, stat: Stat, toDirFd: number, toName: string): Steps<never> {
    const opened = yield* openUnlessLeased(() => openRegular(fromDirFd, fromName));
    // A worker that is terminated meanwhile closes them.
    using source = new OwnedFd(check('openat', opened, { path: fromName, ...(opened === -ERRNO.ESTALE && changing) }));
    const from = source.fd;
    // The name may mean another file by now; what is open counts.
    if (inodeKey(statFd(from)) !== inodeKey(stat)) check('openat', -ERRNO.ESTALE, { path: fromName, ...changing });
    const made = openAt(toDirFd, toName, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, 0o600);
    using target = new OwnedFd(check('openat', made, { path: toName }));
    const to = target.fd;
    if (stat.size === 0) return;
    if (this.#method === 'reflink') {
      const result = ioctl(to, FICLONE, from);
      if (result === 0) return;
      if (!unsupported.has(result)) check('ioctl', result, { path: toName, args: { request: 'FICLONE' } });
      this.#method = 'copy_file_range';
    }
    // The kernel's way within one file system needs longer to begin with.
    const sparse = stat.blocks * 512 < stat.size;
    if (!sparse && stat.size <= this.#buffer.bytes.length && this.#small(from, to, stat.size)) return;
    yield* this.#ranges(from, to, stat.size, sparse);
  }

  /** With two calls; false when the file has another size by now. */
  #small(from: number, to: number, size: number): boolean {
    const { address } = this.#buffer;
    if (syscall(SYS.pread64, from, address, size, 0) !== size) return false;
    const written = check('pwrite64', syscall(SYS.pwrite64, to, address, size, 0), { doing: 'copy a file' });
    return written === size;
  }

  /** Data by data, leaving holes holes. */
  *#ranges(from: number, to: number, size: number, sparse: boolean): Steps<never> {
    let position = 0;
    while (position < size) {
      const data = sparse ? syscall(SYS.lseek, from, position, SEEK.DATA) : position;
      if (data === -ERRNO.ENXIO) break;
      position = data < 0 ? position : data;
      const hole = sparse ? syscall(SYS.lseek, from, position, SEEK.HOLE) : size;
      const end = hole < 0 ? size : hole;
      while (position < end) {
        const count = this.#range(from, to, position, Math.min(PIECE, end - position));
        if (count === 0) return;
        position += count;
        yield undefined;
      }
    }
    if (sparse) check('ftruncate', syscall(SYS.ftruncate, to, size), { doing: 'copy a file' });
  }

  #range(from: number, to: number, position: number, length: number): number {
    if (this.#method === 'copy_file_range') {
      const count = this.#kernelRange(from, to, position, length);
      if (count > 0) return count;
      // 0 within a file: some file systems say so where they cannot (man page, BUGS).
      if (count !== 0 && !unsupported.has(count)) check('copy_file_range', count, { doing: 'copy a file' });
      this.#method = 'read-write';
    }
    const { address, bytes } = this.#buffer;
    const count = check('pread64', syscall(SYS.pread64, from, address, Math.min(length, bytes.length), position), {
      doing: 'copy a file',
    });
    for (let done = 0; done < count; ) {
      done += check('pwrite64', syscall(SYS.pwrite64, to, address + done, count - done, position + done), {
        doing: 'copy a file',
      });
    }
    return count;
  }

  #kernelRange(from: number, to: number, position: number, length: number): number {
    const offsets = this.#buffer;
    offsets.bytes.writeBigInt64LE(BigInt(position), 0);
    offsets.bytes.writeBigInt64LE(BigInt(position), 8);
    return syscall(SYS.copy_file_range, from, offsets.address, to, offsets.address + 8, length, 0);
  }
}
