import { write as writeCallback } from 'node:fs';
import { addressOf, allocate, closeBound, ERRNO, O, OwnedFd, openAt, openBound, SYS, syscall } from '@ns/libc';

/* cgroup files by directory descriptor. Always without O_CREAT: on something that is not a cgroup file system the write
   fails instead of leaving a plain file behind that limits nothing (crun 1.8.1 did that for cgroupsPath ../../escape). */

// Calls are synchronous, so one buffer serves all of a thread. memory.stat has about 2 KiB, cgroup.procs any length.
const buffer = allocate(64 * 1024);

// kernfs fills at least a page per read, so a read well below one was the whole file: one call instead of two.
const certainlyWhole = 3_840;

/**
 * The text of a file.
 *
 * @returns a negated errno when it cannot be opened or read
 */
export function readControlFile(dirFd: number, file: string): string | number {
  const fd = openBound(dirFd, file, O.RDONLY | O.NOFOLLOW);
  if (fd < 0) return fd;
  const text = readAll(fd);
  closeBound(fd);
  return text;
}

/** Opens a file to be read again and again by {@link readAgain}; a negated errno when that fails. */
export function openControlFile(dirFd: number, file: string, flags: number): OwnedFd | number {
  const fd = openAt(dirFd, file, flags | O.NOFOLLOW);
  return fd < 0 ? fd : new OwnedFd(fd);
}

/** The text of an open file from its beginning, or a negated errno. */
export function readAgain(file: OwnedFd): string | number {
  return readAll(file.fd);
}

function readAll(fd: number): string | number {
  let text = '';
  for (let offset = 0; ; ) {
    const count = syscall(SYS.pread64, fd, buffer.address, buffer.bytes.length, offset);
    if (count < 0) return count;
    text += buffer.bytes.toString('latin1', 0, count);
    if (count < certainlyWhole) return text;
    offset += count;
  }
}

/** Writes a file at once, on this thread: for what returns in microseconds. Result: 0 or a negated errno. */
export function writeControlFile(dirFd: number, file: string, value: string): number {
  const fd = openBound(dirFd, file, O.WRONLY | O.NOFOLLOW);
  if (fd < 0) return fd;
  const result = writeOnce(fd, value);
  closeBound(fd);
  return result;
}

/**
 * write(2) of a short text in one call, as kernfs wants it. Result: 0 or a negated errno.
 *
 * The memory controller gives up with EINTR when any signal is pending, before it changed anything.
 */
export function writeOnce(fd: number, value: string): number {
  const bytes = Buffer.from(value);
  for (;;) {
    const result = syscall(SYS.write, fd, addressOf(bytes), bytes.length);
    if (result !== -ERRNO.EINTR) return Math.min(result, 0);
  }
}

/**
 * Writes a file on Node's thread pool: for what can wait in the kernel. Moving a process waits for an RCU grace period
 * (10 ms and more), lowering a memory limit reclaims until it fits. Result: 0 or a negated errno.
 */
export async function writeControlFileAside(dirFd: number, file: string, value: string): Promise<number> {
  const fd = openBound(dirFd, file, O.WRONLY | O.NOFOLLOW);
  if (fd < 0) return fd;
  for (;;) {
    const result = await writeOnceAside(fd, value);
    if (result === -ERRNO.EINTR) continue;
    closeBound(fd);
    return result;
  }
}

function writeOnceAside(fd: number, value: string): Promise<number> {
  return new Promise((resolve) => {
    writeCallback(fd, Buffer.from(value), (error) => resolve(error ? -Math.abs(error.errno ?? ERRNO.EIO) : 0));
  });
}
