import { basename, dirname } from 'node:path';
import {
  AT_FDCWD,
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

/** A pin's directory is opened once and its name looked up below it: a rename in between cannot redirect us. */
function directoryResult(path: string): number {
  return openAt(AT_FDCWD, dirname(path), O.PATH | O.DIRECTORY);
}

function nameOf(path: string): string {
  const name = typeof path === 'string' ? basename(path) : '';
  if (['', '.', '..'].includes(name)) throw new SpecError('path', 'the path of a file', path);
  return name;
}

/** Makes a file and mounts the namespace of `fd` on it. */
export function pinNamespace(fd: OwnedFd, path: string): void {
  const name = nameOf(path);
  using directory = new OwnedFd(checkAction('pin', 'openat', directoryResult(path), { path: dirname(path) }));
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
 * Takes a pin away and removes its file; what is left of a pin that was never finished (an empty file) too. Pins on top of
 * each other all go; a file with content below a pin stays. The namespace lives on while a process or descriptor holds it, and
 * whoever has the pin open does not keep it from going. Needs CAP_SYS_ADMIN.
 *
 * @returns whether there was one
 * @throws NamespaceError `ERR_NS_NOT_PINNED` when something else is at the path; it is left alone
 * @throws SyscallError `EPERM`; `EINVAL` for a pin that a more privileged mount namespace made; `EBUSY` when something else is
 *   mounted on its file
 *
 * @example
 * ```ts
 * unpin('/run/netns/blue'); // true, or false when there was none
 * ```
 */
export function unpin(path: string): boolean {
  const name = nameOf(path);
  const found = directoryResult(path);
  if (found === -ERRNO.ENOENT) return false;
  using directory = new OwnedFd(checkAction('unpin', 'openat', found, { path: dirname(path) }));
  let unmounted = false;
  for (;;) {
    const result = openAt(directory.fd, name, O.PATH | O.NOFOLLOW);
    if (result === -ERRNO.ENOENT) return unmounted;
    using file = new OwnedFd(checkAction('unpin', 'openat', result, { path }));
    if (fileSystemMagic(file.fd) === MAGIC.NSFS) {
      unmount(file, path);
      unmounted = true;
      continue;
    }
    if (isEmptyFile(file)) {
      checkAction('unpin', 'unlinkat', unlinkAt(directory.fd, name), { path });
      return true;
    }
    if (unmounted) return true;
    throw new NamespaceError('ERR_NS_NOT_PINNED', `no namespace is pinned at ${path}`, {
      hint: 'listNamespaces() says where namespaces are pinned',
    });
  }
}

/** Detached, because our own descriptor keeps the mount busy; by the path of the descriptor, because it cannot be swapped. */
function unmount(file: OwnedFd, path: string): void {
  const target = cString(file.procPath);
  checkAction('unpin', 'umount2', syscall(SYS.umount2, target.address, MNT_DETACH), { path });
}

function isEmptyFile({ fd }: OwnedFd): boolean {
  const { mode, size } = statFd(fd);
  return (mode & S.IFMT) === S.IFREG && size === 0;
}
