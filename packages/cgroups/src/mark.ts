import { ERRNO, getXattr, SyscallError, setXattr } from '@ns/libc';

/* A mark is an extended attribute of the directory itself: it appears with the cgroup, vanishes with it, and needs no state
   file that could be stale. user.* on cgroup directories is since 5.7; before, trusted.* works for root. */
const classes = ['user', 'trusted'];

/**
 * Marks a directory. File systems and users that cannot mark are no error.
 *
 * @param doing - for the message of a failure
 * @returns `false` when the directory is gone already
 */
export function setMark(directoryFd: number, name: string, value: string, doing: string): boolean {
  for (const prefix of classes) {
    const result = setXattr(directoryFd, '', `${prefix}.ns.${name}`, Buffer.from(value));
    if (result === 0) return true;
    if (result === -ERRNO.ENOENT || result === -ERRNO.ENODEV) return false;
    if (result !== -ERRNO.EOPNOTSUPP && result !== -ERRNO.EPERM && result !== -ERRNO.EACCES) {
      throw new SyscallError('setxattr', result, { doing });
    }
  }
  return true;
}

/** Marks of this name on a directory, `user.*` first. */
export function readMarks(directoryFd: number, name: string): string[] {
  return classes.flatMap((prefix) => getXattr(directoryFd, '', `${prefix}.ns.${name}`)?.toString('latin1') ?? []);
}
