import {
  AT_FDCWD,
  check,
  cString,
  FSCONFIG,
  FSPICK_CLOEXEC,
  FSPICK_EMPTY_PATH,
  MOVE_MOUNT,
  MS,
  O,
  OwnedFd,
  open,
  openTree,
  SYS,
  syscall,
} from '@ns/libc';
import { attachMount, configure, type Place, withMessages } from './detached-mount.ts';
import { attempt } from './mount-error.ts';
import { parseMountOptions } from './mount-options.ts';

/**
 * open_tree(2) without a clone: a descriptor of the mount that is at `path` now, for {@link attachMount},
 * {@link setMountAttributes} or {@link unmount} with `detach`. Since 5.2. Needs no privilege but to reach the path.
 *
 * @throws SyscallError ENOENT, EACCES
 */
export function openMount(path: string): OwnedFd {
  return attempt({ doing: `open the mount at ${path}`, path }, () => openTree(AT_FDCWD, path, 0));
}

/**
 * move_mount(2), since 5.2: takes a mount with all below it from one place to another. Needs CAP_SYS_ADMIN over the mount
 * namespace.
 *
 * @param from - where it is mounted, or a descriptor of it
 * @param options - `beneath` puts it under the mount at `to` (since 6.5): unmounting that one shows the new one, without a moment in
 *   which nothing is there
 * @throws SyscallError EINVAL: `from` is no mount, or its parent is shared (make it private first)
 *
 * @example
 * ```ts
 * moveMount('/mnt/new', '/srv/data', { beneath: true });
 * unmount('/srv/data', 'detach'); // and the new one is there
 * ```
 */
export function moveMount(from: Place, to: Place, options: { beneath?: boolean } = {}): void {
  using opened = typeof from === 'string' ? openMount(from) : undefined;
  const mount = opened ?? (from as OwnedFd);
  if (!options.beneath) {
    attachMount(mount, to);
    return;
  }
  using target = typeof to === 'string' ? open(to, O.PATH) : undefined;
  const place = target ?? (to as OwnedFd);
  const empty = cString('');
  const flags = MOVE_MOUNT.F_EMPTY_PATH | MOVE_MOUNT.T_EMPTY_PATH | MOVE_MOUNT.BENEATH;
  const hint = 'EINVAL before Linux 6.5, and where nothing is mounted at the target';
  check('move_mount', syscall(SYS.move_mount, mount.fd, empty.address, place.fd, empty.address, flags), {
    dest: place.procPath,
    doing: 'put a mount beneath another',
    hint,
  });
}

/**
 * fspick(2), since 5.2: changes options of a file system that is mounted, for all its mounts, as `mount -o remount` does. For
 * one mount use {@link setMountAttributes}.
 *
 * @example
 * ```ts
 * reconfigureFileSystem('/mnt/scratch', ['size=128m']);
 * ```
 */
export function reconfigureFileSystem(place: Place, options: readonly string[]): void {
  const path = typeof place === 'string' ? place : place.procPath;
  const { superblock, data, flags, clearFlags } = parseMountOptions(options);
  const doing = `reconfigure the file system at ${path}`;
  const [dirFd, name, mode] =
    typeof place === 'string' ? [AT_FDCWD, place, FSPICK_CLOEXEC] : [place.fd, '', FSPICK_CLOEXEC | FSPICK_EMPTY_PATH];
  using context = new OwnedFd(
    check('fspick', syscall(SYS.fspick, dirFd, cString(name).address, mode), { path, doing }),
  );
  withMessages(context, doing, () => {
    const readonly = flags & MS.RDONLY ? ['ro'] : clearFlags & MS.RDONLY ? ['rw'] : [];
    configure(context, [...readonly, ...superblock, ...data]);
    check('fsconfig', syscall(SYS.fsconfig, context.fd, FSCONFIG.CMD_RECONFIGURE, 0, 0, 0));
  });
}
