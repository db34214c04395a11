import { accessSync, constants } from 'node:fs';
import { posix } from 'node:path';
import { ERRNO, hasCode, type OwnedFd, S, SyscallError, statFd } from '@ns/libc';
import { resolveInRoot } from '@ns/mounts';

/** Is a path another, or below it? */
export function isBelow(path: string, other: string): boolean {
  return path === other || path.startsWith(other === '/' ? '/' : `${other}/`);
}

/**
 * Can something be mounted on a path of a root, and can what is missing of it be made?
 *
 * @throws SyscallError `ENOTDIR`, `EINVAL`, `ELOOP`, `EROFS`: as the kernel would
 */
export function assertMountable(root: OwnedFd, target: string, type: 'file' | 'directory'): void {
  using place = openExisting(root, target);
  using above = place ? undefined : openAbove(root, target);
  const isDirectory = (statFd((place ?? above!).fd).mode & S.IFMT) === S.IFDIR;
  if (!isDirectory && (above || type === 'directory')) throw unmountable(ERRNO.ENOTDIR, target);
  // move_mount(2) says so.
  if (isDirectory && place && type === 'file') throw unmountable(ERRNO.EINVAL, target);
  if (above && isReadOnly(above)) throw unmountable(ERRNO.EROFS, target);
}

/** The nearest directory above that is there. */
function openAbove(root: OwnedFd, target: string): OwnedFd {
  const parent = posix.dirname(target);
  return openExisting(root, parent) ?? openAbove(root, parent);
}

function openExisting(root: OwnedFd, path: string): OwnedFd | undefined {
  try {
    return resolveInRoot(root.fd, path);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function isReadOnly(place: OwnedFd): boolean {
  try {
    accessSync(place.procPath, constants.W_OK);
    return false;
  } catch (error) {
    return hasCode(error, 'EROFS');
  }
}

const unmountable = (errno: number, target: string): SyscallError =>
  new SyscallError('move_mount', errno, { path: target, doing: `mount something on ${target} in the container` });
