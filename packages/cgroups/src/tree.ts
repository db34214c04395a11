import {
  AT_REMOVEDIR,
  check,
  chmodAt,
  closeBound,
  ERRNO,
  fileSystemMagic,
  MAGIC,
  mkdirAt,
  O,
  OwnedFd,
  open,
  openAt,
  openat2,
  openBound,
  RESOLVE,
  SyscallError,
  statFd,
  UnavailableError,
  unlinkAt,
} from '@ns/libc';
import type { Hierarchy } from './host.ts';

/* Directories of one cgroup tree. Every path is resolved beneath a descriptor of the mount whose file system type was
   checked, and never across a mount or a link: what is limited is what was named (security.md 6). */

const roots = new WeakMap<Hierarchy, OwnedFd>();

/** Lookups stay beneath the mount, on the same mount, and follow no link. */
const resolve = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS | RESOLVE.NO_XDEV;

/** The verified mount of a tree, opened once per thread. */
function rootOf(hierarchy: Hierarchy): OwnedFd {
  const known = roots.get(hierarchy);
  if (known) return known;
  const root = open(hierarchy.mountPoint, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  if (fileSystemMagic(root.fd) !== (hierarchy.version === 2 ? MAGIC.CGROUP2 : MAGIC.CGROUP)) {
    root.close();
    throw new UnavailableError(
      'cgroups',
      `${hierarchy.mountPoint} is not a cgroup v${hierarchy.version} file system`,
      'Something is mounted over it',
    );
  }
  roots.set(hierarchy, root);
  return root;
}

/** Opens a cgroup's directory. `undefined` when there is none. */
export function openDirectory(hierarchy: Hierarchy, components: readonly string[]): OwnedFd | undefined {
  try {
    return openat2(rootOf(hierarchy).fd, components.join('/') || '.', { flags: O.RDONLY | O.DIRECTORY, resolve });
  } catch (error) {
    if (error instanceof SyscallError && (error.code === 'ENOENT' || error.code === 'ENODEV')) return undefined;
    throw error;
  }
}

/** A descriptor of one's own for an open directory. */
export function openAgain(fd: number): OwnedFd {
  return new OwnedFd(check('openat', openAt(fd, '.', O.RDONLY | O.DIRECTORY)));
}

const MODE = 0o755;

/** Makes one directory in an open one. `false` when it was there already. */
export function makeDirectory(parent: OwnedFd, name: string, path: string): boolean {
  const result = mkdirAt(parent.fd, name, MODE);
  if (result === -ERRNO.EEXIST) return false;
  if (result < 0) throw new SyscallError('mkdirat', result, { path, hint: mkdirHints[result] });
  // Whatever our umask: a container with ids of its own looks into its cgroup. Somebody may have removed it again.
  chmodAt(parent.fd, name, MODE);
  return true;
}

const mkdirHints: Readonly<Record<number, string>> = {
  [-ERRNO.EACCES]:
    'This user may not make cgroups here: let systemd delegate a scope (createDelegatedScope), or have root delegate one (Cgroup.delegate)',
  [-ERRNO.EPERM]:
    'This user may not make cgroups here: let systemd delegate a scope (createDelegatedScope), or have root delegate one (Cgroup.delegate)',
  [-ERRNO.EROFS]:
    'The cgroup file system is mounted read-only, as in a container without delegation: mount it writable, or run the container with a private cgroup namespace',
  [-ERRNO.EAGAIN]: 'cgroup.max.descendants or cgroup.max.depth of a parent is reached',
  [-ERRNO.ENOMEM]:
    'Likely 65,535 memory cgroups exist, of which many may be dead and waiting for their pages: echo 3 > /proc/sys/vm/drop_caches',
  [-ERRNO.ENOSPC]: 'Likely a parent cpuset has no cpus or mems',
};

/** Removes one directory of an open one. Result: 0 or a negated errno. */
export function removeDirectory(parent: OwnedFd, name: string): number {
  return unlinkAt(parent.fd, name, AT_REMOVEDIR);
}

/** Whether `name` in `parent` is still the directory `of`: another one may have taken its place. */
export function isSameDirectory(parent: OwnedFd, name: string, of: OwnedFd): boolean {
  const fd = openBound(parent.fd, name, O.PATH | O.NOFOLLOW);
  if (fd < 0) return false;
  const same = statFd(fd).ino === statFd(of.fd).ino;
  closeBound(fd);
  return same;
}

/** Absolute path of a cgroup, for messages and for what takes only paths. */
export function absolutePath(hierarchy: Hierarchy, components: readonly string[]): string {
  return [hierarchy.mountPoint, ...components].join('/');
}
