import {
  AT_FDCWD,
  check,
  ERRNO,
  mkdirAt,
  O,
  OwnedFd,
  openAt,
  openat2,
  RESOLVE,
  readlinkAt,
  S,
  SyscallError,
  statFd,
  UnavailableError,
} from '@ns/libc';

/* CVE-2021-30465, CVE-2024-45310 and their kin: a mount target checked by name and then used by name can be swapped in
   between for a link that leads out of the root. Here a path becomes a descriptor once, inside the kernel, and the mount
   is attached to that descriptor. */

/** How {@link resolveInRoot} treats what is missing and what stands in the way. */
export interface ResolveOptions {
  /** Make what is missing: directories on the way, and at the end a directory or an empty file. Default: nothing is made. */
  readonly create?: 'directory' | 'file';
  /** Permissions of directories that are made. Default 0o755; a file gets them without the x bits. */
  readonly mode?: number;
  /** More RESOLVE_* bits, such as `RESOLVE.NO_SYMLINKS` for /proc and /dev (CVE-2019-16884, CVE-2019-19921). */
  readonly resolve?: number;
}

const IN_ROOT = RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS;
// The kernel's own limit on links in one path.
const MAX_LINKS = 40;
// Somebody renames under us as fast as we look: give up rather than loop for ever.
const MAX_RACES = 128;

function tryOpen(rootFd: number, path: string, flags: number, resolve: number): OwnedFd | 'missing' {
  try {
    return openat2(rootFd, path === '' ? '.' : path, { flags, resolve });
  } catch (error) {
    if (error instanceof SyscallError && error.code === 'ENOENT') return 'missing';
    if (error instanceof SyscallError && error.code === 'ENOSYS') {
      throw new UnavailableError('safe path resolution', 'this kernel has no openat2(2)', 'Use Linux 5.6 or later');
    }
    throw error;
  }
}

function assertKind(fd: OwnedFd, path: string, create: ResolveOptions['create']): OwnedFd {
  if (create === undefined) return fd;
  const isDirectory = (statFd(fd.fd).mode & S.IFMT) === S.IFDIR;
  if (isDirectory === (create === 'directory')) return fd;
  fd.close();
  throw new SyscallError('openat2', create === 'directory' ? ERRNO.ENOTDIR : ERRNO.EISDIR, {
    path,
    doing: `resolve '${path}' inside the root as a ${create}`,
    hint:
      create === 'directory'
        ? 'A directory can only be mounted on a directory; something else stands there'
        : 'A file can only be mounted on a file; a directory stands there',
  });
}

/**
 * Opens (O_PATH) what `path` means to a process whose root directory is `rootFd`. Links, `..` and renames by a hostile
 * process never lead outside: openat2(2) with RESOLVE_IN_ROOT, each missing component made with mkdirat(2) on a
 * descriptor. A dangling link is followed, inside the root, and its target made. Mount on the result with
 * {@link attachMount}.
 *
 * Privilege: that of the files. Since Linux 5.6.
 *
 * @throws SyscallError ENOENT (nothing there and `create` not given), ENOTDIR, EISDIR, ELOOP
 * @throws UnavailableError without openat2(2)
 *
 * @example
 * ```ts
 * using root = openRoot('/srv/guest');
 * using target = resolveInRoot(root.fd, '/etc/resolv.conf', { create: 'file' });
 * ```
 */
export function resolveInRoot(rootFd: number, path: string, options: ResolveOptions = {}): OwnedFd {
  const { create, mode = 0o755 } = options;
  const resolve = IN_ROOT | (options.resolve ?? 0);
  let wanted = splitPath(path);
  let links = 0;
  // Each component that is missing takes a turn of its own.
  for (let turn = 0; turn < MAX_RACES + wanted.length; turn++) {
    const found = tryOpen(rootFd, wanted.join('/'), O.PATH, resolve);
    if (found !== 'missing') return assertKind(found, path, create);
    if (create === undefined)
      throw new SyscallError('openat2', ERRNO.ENOENT, { path, doing: `resolve '${path}' inside the root` });

    const { parent, depth } = deepestDirectory(rootFd, wanted, resolve);
    using directory = parent;
    const name = wanted[depth]!;

    const link = readlinkAt(directory.fd, name);
    if (link !== undefined) {
      if (++links > MAX_LINKS || resolve & RESOLVE.NO_SYMLINKS)
        throw new SyscallError('openat2', ERRNO.ELOOP, { path });
      wanted = [
        ...(link.startsWith('/') ? [] : wanted.slice(0, depth)),
        ...splitPath(link),
        ...wanted.slice(depth + 1),
      ];
      continue;
    }
    const isLast = depth === wanted.length - 1;
    const made =
      isLast && create === 'file' ? createFile(directory.fd, name, mode & 0o666) : mkdirAt(directory.fd, name, mode);
    // Made by somebody else meanwhile: look again, with the same suspicion.
    if (made < 0 && made !== -ERRNO.EEXIST) {
      check(isLast && create === 'file' ? 'openat' : 'mkdirat', made, {
        path,
        doing: `make '${wanted.slice(0, depth + 1).join('/')}' inside the root`,
      });
    }
  }
  throw new SyscallError('openat2', ERRNO.EAGAIN, {
    path,
    doing: `resolve '${path}' inside the root`,
    hint: 'Something keeps renaming the path',
  });
}

function splitPath(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

/** The deepest directory of `wanted` that exists; `depth` is the index of the first component that does not. */
function deepestDirectory(
  rootFd: number,
  wanted: readonly string[],
  resolve: number,
): { parent: OwnedFd; depth: number } {
  for (let depth = wanted.length - 1; depth > 0; depth--) {
    const parent = tryOpen(rootFd, wanted.slice(0, depth).join('/'), O.PATH | O.DIRECTORY, resolve);
    if (parent !== 'missing') return { parent, depth };
  }
  return { parent: openat2(rootFd, '.', { flags: O.PATH | O.DIRECTORY, resolve }), depth: 0 };
}

function createFile(dirFd: number, name: string, mode: number): number {
  // O_EXCL also refuses a link put there since we looked.
  const fd = openAt(dirFd, name, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW | O.NONBLOCK, mode);
  if (fd >= 0) new OwnedFd(fd).close();
  return fd;
}

/** Opens a directory (O_PATH) to resolve paths in. A final link is followed: the path is the caller's own, not a container's. */
export function openRoot(path: string): OwnedFd {
  return new OwnedFd(
    check('openat', openAt(AT_FDCWD, path, O.PATH | O.DIRECTORY), { path, doing: `open root '${path}'` }),
  );
}
