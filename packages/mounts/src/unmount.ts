import {
  check,
  cString,
  ERRNO,
  MNT_DETACH,
  MNT_EXPIRE,
  MNT_FORCE,
  SeveralErrors,
  SYS,
  syscall,
  UMOUNT_NOFOLLOW,
} from '@ns/libc';
import type { Place } from './detached-mount.ts';
import { mountsBelow, readMountinfo } from './parse-mountinfo.ts';

/** How {@link unmount} unmounts; see umount2(2). */
export type UnmountMode =
  /** Fails with EBUSY while in use. */
  | 'strict'
  /** Out of sight at once with all mounts below, gone when no longer used (MNT_DETACH). */
  | 'detach'
  /** Aborts pending requests (MNT_FORCE): network file systems and FUSE. */
  | 'force'
  /** Unmounts if unused since the last such call, else marks it: EAGAIN (MNT_EXPIRE). */
  | 'expire';

const modes: Readonly<Record<UnmountMode, number>> = {
  strict: 0,
  detach: MNT_DETACH,
  force: MNT_FORCE,
  expire: MNT_EXPIRE,
};

/**
 * umount2(2). A path is not followed when it ends in a link (UMOUNT_NOFOLLOW); a descriptor must be of the mount itself,
 * and keeps it busy, so only `detach` works then. Needs CAP_SYS_ADMIN over the mount namespace.
 *
 * @returns false when nothing is mounted there
 * @throws SyscallError EBUSY (`strict`), EAGAIN (`expire`, first call), EPERM; EINVAL for a mount locked by a user namespace
 *
 * @example
 * ```ts
 * if (!unmount('/mnt', 'detach')) console.log('nothing was mounted there');
 * ```
 */
export function unmount(place: Place, mode: UnmountMode = 'strict'): boolean {
  const path = typeof place === 'string' ? place : place.procPath;
  const follow = typeof place === 'string' ? UMOUNT_NOFOLLOW : 0;
  const result = syscall(SYS.umount2, cString(path, 'target').address, modes[mode] | follow);
  if (result === -ERRNO.ENOENT) return false;
  // EINVAL says both "not a mount point" and "locked by the user namespace it was inherited through".
  if (result === -ERRNO.EINVAL && !readMountinfo().some(({ target }) => target === path)) return false;
  check('umount2', result, {
    path,
    args: { mode },
    ...(result === -ERRNO.EBUSY && {
      hint: "Something uses it: unmount with 'detach', or end the processes that have files open there",
    }),
  });
  return true;
}

/**
 * Unmounts everything at and below a path, deepest and newest first: umount2(2) for each line of mountinfo. Needs CAP_SYS_ADMIN.
 *
 * @returns how many mounts there were
 * @throws SyscallError for a mount that remains: `EPERM`, `EINVAL` when a more privileged namespace made it, `EBUSY`; of several an
 *   {@link SeveralErrors}, after all others are gone
 */
export function unmountAll(path: string, mode: UnmountMode = 'detach'): number {
  let count = 0;
  const failures: unknown[] = [];
  for (const { target } of mountsBelow(path, readMountinfo()).reverse()) {
    try {
      if (unmount(target, mode)) count++;
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length === 1) throw failures[0];
  if (failures.length > 1) throw new SeveralErrors(failures, `unmount ${path}: ${failures.length} mounts remain`);
  return count;
}
