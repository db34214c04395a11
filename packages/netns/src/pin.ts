import {
  AT_FDCWD,
  check,
  cString,
  ERRNO,
  MNT_DETACH,
  MS,
  O,
  open,
  SpecError,
  SYS,
  syscall,
  UMOUNT_NOFOLLOW,
} from '@ns/libc';

/** Where `ip netns` keeps its pins. */
export const PIN_DIRECTORY = '/run/netns';

/**
 * The path of a pin.
 *
 * @throws SpecError on a name that is empty, hidden, longer than a file name, or leads out of the directory
 */
export function pinPath(name: string): string {
  if (!/^[^/\0.][^/\0]{0,254}$/.test(name))
    throw new SpecError('name', 'a file name that does not begin with a dot', name);
  return `${PIN_DIRECTORY}/${name}`;
}

/**
 * Makes /run/netns a shared mount, as `ip netns add` does: otherwise pins would be seen in one mount namespace only, and
 * `ip netns delete` could not remove the ones made before its own first mount.
 */
export function preparePinDirectory(): void {
  check('mkdirat', ignore(syscall(SYS.mkdirat, AT_FDCWD, cString(PIN_DIRECTORY).address, 0o755), ERRNO.EEXIST), {
    path: PIN_DIRECTORY,
  });
  const share = (): number => mountOn('', PIN_DIRECTORY, MS.SHARED | MS.REC);
  // EINVAL: not a mount point yet.
  if (share() !== -ERRNO.EINVAL) return;
  check('mount', mountOn(PIN_DIRECTORY, PIN_DIRECTORY, MS.BIND | MS.REC), { path: PIN_DIRECTORY, dest: PIN_DIRECTORY });
  check('mount', share(), { path: PIN_DIRECTORY, doing: `share ${PIN_DIRECTORY} between mount namespaces` });
}

/**
 * Binds a namespace onto a file that is made for it, so that it lives without a process.
 *
 * @throws SyscallError EEXIST when the path is taken
 */
export function bindNamespace(namespaceFd: number, path: string): void {
  open(path, O.RDONLY | O.CREAT | O.EXCL | O.NOFOLLOW, { mode: 0 }).close();
  const source = `/proc/self/fd/${namespaceFd}`;
  const result = mountOn(source, path, MS.BIND);
  if (result < 0) syscall(SYS.unlinkat, AT_FDCWD, cString(path).address, 0);
  check('mount', result, { path: source, dest: path, doing: `pin the network namespace at ${path}` });
}

/** Removes a pin: the namespace ends when nothing else holds it. Idempotent. */
export function removePin(path: string): void {
  const file = cString(path);
  // EINVAL: a plain file whose mount is gone already.
  check(
    'umount2',
    ignore(syscall(SYS.umount2, file.address, MNT_DETACH | UMOUNT_NOFOLLOW), ERRNO.EINVAL, ERRNO.ENOENT),
    { path },
  );
  check('unlinkat', ignore(syscall(SYS.unlinkat, AT_FDCWD, file.address, 0), ERRNO.ENOENT), { path });
}

function mountOn(source: string, target: string, flags: number): number {
  return syscall(SYS.mount, cString(source).address, cString(target).address, cString('none').address, flags, 0);
}

function ignore(result: number, ...errnos: number[]): number {
  return errnos.includes(-result) ? 0 : result;
}
