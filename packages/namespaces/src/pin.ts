import { basename, dirname } from 'node:path';
import {
  check,
  cString,
  ERRNO,
  fileSystemMagic,
  MAGIC,
  MNT_DETACH,
  MS,
  O,
  OwnedFd,
  open,
  openAt,
  S,
  SpecError,
  SYS,
  statFd,
  syscall,
  unlinkAt,
} from '@ns/libc';
import { NamespaceError } from './errors.ts';
import { checkAction } from './hints.ts';
import { verifyNsfs } from './open-namespace.ts';

interface Place extends Disposable {
  readonly directory: OwnedFd;
  readonly name: string;
}

/** The directory is opened once and the name looked up below it: a rename in between cannot redirect us. */
function placeOf(path: string): Place {
  const name = typeof path === 'string' ? basename(path) : '';
  if (['', '.', '..'].includes(name)) throw new SpecError('path', 'the path of a file', path);
  const directory = open(dirname(path), O.PATH | O.DIRECTORY);
  return { directory, name, [Symbol.dispose]: () => directory.close() };
}

/** Makes a file and mounts the namespace of `fd` on it. */
export function pinNamespace(fd: OwnedFd, path: string): void {
  using place = placeOf(path);
  const { directory, name } = place;
  const flags = O.RDONLY | O.CREAT | O.EXCL | O.NOFOLLOW;
  using file = new OwnedFd(checkAction('pin', 'openat', openAt(directory.fd, name, flags, 0o444), { path }));
  try {
    mountOn(fd, file, path);
    using pinned = open(name, O.PATH | O.NOFOLLOW, { dirFd: directory.fd });
    verifyNsfs(pinned.fd, path);
  } catch (error) {
    unlinkAt(directory.fd, name);
    throw error;
  }
}

function mountOn(fd: OwnedFd, file: OwnedFd, path: string): void {
  const [source, target] = [cString(fd.procPath), cString(file.procPath)];
  const result = syscall(SYS.mount, source.address, target.address, 0, MS.BIND, 0);
  checkAction('pinMount', 'mount', result, { doing: `pinning a namespace at '${path}'` });
}

/**
 * Takes a pin away and removes its file; what is left of a pin that was never finished (an empty file) too. The namespace
 * lives on while a process or descriptor holds it. Needs CAP_SYS_ADMIN.
 *
 * @returns whether there was one
 * @throws NamespaceError `ERR_NS_NOT_PINNED` when something else is at the path; it is left alone
 */
export function unpin(path: string): boolean {
  using place = placeOf(path);
  const { directory, name } = place;
  const result = openAt(directory.fd, name, O.PATH | O.NOFOLLOW);
  if (result === -ERRNO.ENOENT!) return false;
  using file = new OwnedFd(checkAction('unpin', 'openat', result, { path }));
  const pinned = fileSystemMagic(file.fd) === MAGIC.NSFS;
  const { mode, size } = statFd(file.fd);
  if (!pinned && ((mode & S.IFMT) !== S.IFREG || size > 0)) {
    throw new NamespaceError('ERR_NS_NOT_PINNED', `no namespace is pinned at ${path}`);
  }
  if (pinned) {
    // Detached, because our own descriptor keeps the mount busy; the path of the descriptor, because it cannot be swapped.
    const target = cString(file.procPath);
    checkAction('unpin', 'umount2', syscall(SYS.umount2, target.address, MNT_DETACH), { path });
  }
  check('unlinkat', unlinkAt(directory.fd, name), { path });
  return true;
}
