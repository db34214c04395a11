import {
  check,
  ERRNO,
  O,
  OwnedFd,
  onlyKnownKeys,
  openAt,
  SpecError,
  type Stat,
  SyscallError,
  statAt,
  statFd,
} from '@ns/libc';
import { resolveInRoot } from '@ns/mounts';
import { actingAs, stepsAs } from './acting-as.ts';
import { type DirectoryPlace, openDirectory } from './directory-place.ts';
import { defaultOwnership, type OwnershipPolicy, type PrivilegePolicy, type Skipped } from './file-metadata.ts';
import { isDirectory } from './file-type.ts';
import type { Owner } from './owner.ts';
import { drain, type Steps } from './time-slices.ts';
import { TreeApplier } from './tree-applier.ts';
import { UnsafePathError } from './unsafe-path-error.ts';
import { join, walkLayer } from './walk-layer.ts';

/** How {@link copyTree} copies. */
export interface CopyTreeOptions {
  /** Default `keep` as root, `ignore` otherwise. */
  readonly ownership?: OwnershipPolicy;
  /**
   * `drop` leaves out what gives power on the host: devices are not made, files lose set-user-ID, set-group-ID and file
   * capabilities; `skipped` names each. For files of somebody untrusted. Default `keep`.
   */
  readonly privileges?: PrivilegePolicy;
  /** Owner of each copy: a fixed one, or translated between the ids of two user namespaces. */
  readonly mapOwner?: (owner: Owner) => Owner;
  /** Make the missing directories above the destination. Default: they must be there. */
  readonly makeParents?: boolean;
  /**
   * Whose the new files are at first. A file system that a container mounted in its user namespace takes only owners who are
   * mapped there (EOVERFLOW): give its root's ids as this process sees them. Needs CAP_SETUID and CAP_SETGID.
   */
  readonly createAs?: Owner;
  readonly signal?: AbortSignal;
}

/** What was copied. */
export interface CopiedTree {
  readonly entries: number;
  /** Attributes the destination did not take. */
  readonly skipped: readonly Skipped[];
}

interface Source {
  readonly parent: OwnedFd;
  readonly name: string;
  readonly stat: Stat;
  /** Only what is in the directory. */
  readonly contents: boolean;
}

/**
 * Copies a file or tree from one root to another, as `docker cp` does, safe against a container that swaps links while it
 * runs (CVE-2018-15664): each path becomes a descriptor once, by openat2(RESOLVE_IN_ROOT), and from there on every step on
 * both sides goes from a descriptor to one of its own names. A link that is part of the tree is copied as a link.
 *
 * A directory is copied into `toPath` when that is a directory, and as `toPath` when that does not exist; with `/` or `/.` at the end of
 * `fromPath`, its contents are. A file goes into a directory, or to the place itself, by rename(2).
 *
 * @param fromRoot - `/proc/PID/root` of a container, or any directory
 * @param fromPath - as a process with that root sees it; links on the way are followed inside the root
 * @throws UnsafePathError something of another kind stands at the destination
 * @throws SyscallError ENOENT, ENOTDIR; EAGAIN: a program holds a lease on a file (fcntl(2), F_SETLEASE) and keeps it
 *
 * @example
 * ```ts
 * await copyTree(`/proc/${pid}/root`, '/var/log/.', '/', '/tmp/logs', { makeParents: true });
 * ```
 */
export async function copyTree(
  fromRoot: DirectoryPlace,
  fromPath: string,
  toRoot: DirectoryPlace,
  toPath: string,
  options: CopyTreeOptions = {},
): Promise<CopiedTree> {
  onlyKnownKeys(options, ['ownership', 'privileges', 'mapOwner', 'makeParents', 'createAs', 'signal'], '');
  using from = openDirectory(fromRoot);
  using to = openDirectory(toRoot);
  const source = findSource(from, fromPath);
  using _parent = source.parent;
  const { createAs } = options;
  const find = () => findDestination(to, toPath, source, options.makeParents ?? false);
  const { directory, name } = createAs ? actingAs(createAs, find) : find();
  using target = directory;
  using applier = new TreeApplier(target, {
    select: () => true,
    ownership: options.ownership ?? defaultOwnership(),
    privileges: options.privileges ?? 'keep',
    mapOwner: options.mapOwner ?? ((owner) => owner),
    kindConflict: 'refuse',
  });
  const steps = copy(source, name, applier);
  await drain(createAs ? stepsAs(createAs, steps) : steps, () => {}, options.signal);
  const { written, skipped } = applier.result;
  return { entries: written, skipped };
}

function* copy({ parent, name, stat, contents }: Source, as: string, applier: TreeApplier): Steps<never> {
  const top = contents ? '' : as;
  if (!contents)
    yield* applier.take({ path: as, parent: '', name, dirFd: parent.fd, stat, whiteout: false, opaque: false });
  if (isDirectory(stat)) {
    using directory = new OwnedFd(
      check('openat', openAt(parent.fd, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW), { path: name }),
    );
    for (const entry of walkLayer(directory, { whiteouts: 'none' })) {
      yield* applier.take({
        ...entry,
        path: join(top, entry.path),
        parent: entry.parent === '' ? top : join(top, entry.parent),
      });
    }
  }
  applier.finish();
}

/** The last component is looked up in its directory and not followed; what it is then is what is copied. */
function findSource(root: OwnedFd, path: string): Source {
  const contents = /(^|\/)\.?$/.test(path);
  if (contents) {
    const parent = resolveInRoot(root.fd, path);
    const stat = statFd(parent.fd);
    if (isDirectory(stat)) return { parent, name: '.', stat, contents };
    parent.close();
    throw new SyscallError('openat2', ERRNO.ENOTDIR, { path });
  }
  const { directory, name } = split(path, 'fromPath');
  const parent = tryResolve(root, directory);
  const stat = parent && statAt(parent.fd, name);
  if (stat) return { parent, name, stat, contents };
  parent?.close();
  throw new SyscallError('statx', ERRNO.ENOENT, { path, doing: `copy '${path}' from the root` });
}

/** Where it goes: a directory, and the name in it. */
function findDestination(
  root: OwnedFd,
  path: string,
  source: Source,
  makeParents: boolean,
): { directory: OwnedFd; name: string } {
  const there = tryResolve(root, path);
  if (there && isDirectory(statFd(there.fd))) return { directory: there, name: source.name };
  there?.close();
  if (there && (source.contents || path.endsWith('/')))
    throw new UnsafePathError(path, 'a file stands where a directory shall be');
  if (source.contents) return { directory: resolveInRoot(root.fd, path, { create: 'directory' }), name: '' };
  if (!there && path.endsWith('/') && !isDirectory(source.stat)) {
    if (makeParents) return { directory: resolveInRoot(root.fd, path, { create: 'directory' }), name: source.name };
    throw new SyscallError('openat2', ERRNO.ENOENT, { path, doing: `copy a file into the directory '${path}'` });
  }
  const { directory, name } = split(path.replace(/\/+$/, ''), 'toPath');
  return { directory: resolveInRoot(root.fd, directory, makeParents ? { create: 'directory' } : {}), name };
}

function tryResolve(root: OwnedFd, path: string): OwnedFd | undefined {
  try {
    return resolveInRoot(root.fd, path);
  } catch (error) {
    if (error instanceof SyscallError && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function split(path: string, field: string): { directory: string; name: string } {
  const slash = path.lastIndexOf('/');
  const name = path.slice(slash + 1);
  if (name === '..' || name === '') throw new SpecError(field, 'a path whose last component is a name', path);
  return { directory: path.slice(0, Math.max(0, slash)), name };
}
