import { check, linkAt, mkdirAt, O, type OwnedFd, openat2, RESOLVE, type Stat, statFd } from '@ns/libc';
import { Branch } from './branch.ts';
import { type CopyMethod, FileCopier } from './file-copier.ts';
import { applyMetadata, type OwnershipPolicy, readXattrs, removeInheritedAcls, type Skipped } from './file-metadata.ts';
import { inodeKey, isDirectory, isSocket } from './file-type.ts';
import { applyOverlayXattrs } from './overlay-xattrs.ts';
import type { Owner } from './owner.ts';
import type { Steps } from './time-slices.ts';
import { walkLayer } from './walk-layer.ts';

/** How a tree is copied into an empty directory. */
export interface CopyPolicy {
  readonly ownership: OwnershipPolicy;
  readonly mapOwner?: (owner: Owner) => Owner;
  /** With overlayfs's own attributes: the copy is to be an upper or layer again. */
  readonly overlayXattrs: 'keep' | 'keep-opaque' | 'drop';
  readonly crossMounts?: boolean;
}

/** What was copied. */
export interface CopyTally {
  entries: number;
  bytes: number;
  /** How content was copied: `reflink` shares the blocks and takes no space. `undefined` when there was none. */
  method?: CopyMethod;
  readonly skipped: Skipped[];
}

interface OpenDirectory {
  readonly path: string;
  readonly parent: string;
  readonly name: string;
  readonly stat: Stat;
}

/**
 * Copies what is in `from` into the empty directory `to`: every kind of file but sockets, hard links, attributes, times. Both are
 * walked from descriptor to descriptor; nothing that is renamed on either side meanwhile leads elsewhere.
 */
export function* copyInto(from: OwnedFd, to: OwnedFd, policy: CopyPolicy, tally: CopyTally): Steps<never> {
  const copier = new FileCopier();
  const firstPaths = new Map<string, string>();
  // Directories being filled; their times and modes are set when they are full.
  const open: OpenDirectory[] = [];
  using target = new Branch(to);

  const describe = (
    dirFd: number,
    name: string,
    path: string,
    stat: Stat,
    xattrs: Iterable<readonly [string, Buffer]>,
  ): void => {
    const owner = policy.mapOwner?.({ uid: stat.uid, gid: stat.gid });
    tally.skipped.push(...applyMetadata(dirFd, name, path, { ...stat, ...owner, xattrs }, policy.ownership));
  };
  const close = (next: string): void => {
    for (let top = open.at(-1); top && !next.startsWith(`${top.path}/`); top = open.at(-1)) {
      open.pop();
      describe(target.enter(top.parent)!, top.name, top.path, top.stat, []);
    }
  };

  for (const { path, parent, name, dirFd, stat } of walkLayer(from, {
    whiteouts: 'none',
    crossMounts: policy.crossMounts ?? false,
  })) {
    close(path);
    if (isSocket(stat)) continue;
    const toDirFd = target.enter(parent)!;
    tally.entries++;
    if (isDirectory(stat)) {
      check('mkdirat', mkdirAt(toDirFd, name, 0o700), { path });
      removeInheritedAcls(toDirFd, name, path);
      describe(toDirFd, name, path, { ...stat, mode: stat.mode | 0o700 }, readXattrs(dirFd, name));
      if (policy.overlayXattrs !== 'drop') applyOverlayXattrs(dirFd, name, toDirFd, name, path, policy.overlayXattrs);
      open.push({ path, parent, name, stat });
      yield undefined;
      continue;
    }
    const key = stat.nlink > 1 ? inodeKey(stat) : undefined;
    const first = key === undefined ? undefined : firstPaths.get(key);
    if (first !== undefined) {
      linkTo(to, first, toDirFd, name, path);
      yield undefined;
      continue;
    }
    if (key !== undefined) firstPaths.set(key, path);
    yield* copier.copy(dirFd, name, stat, toDirFd, name);
    removeInheritedAcls(toDirFd, name, path);
    if (stat.size > 0) tally.bytes += stat.size;
    describe(toDirFd, name, path, stat, readXattrs(dirFd, name));
    if (policy.overlayXattrs !== 'drop') applyOverlayXattrs(dirFd, name, toDirFd, name, path, policy.overlayXattrs);
    yield undefined;
  }
  close('');
  if (tally.bytes > 0) tally.method = copier.method;
}

function linkTo(root: OwnedFd, first: string, toDirFd: number, name: string, path: string): void {
  const slash = first.lastIndexOf('/');
  using parent = openat2(root.fd, slash < 0 ? '.' : first.slice(0, slash), {
    flags: O.PATH | O.DIRECTORY,
    resolve: RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS,
  });
  check('linkat', linkAt(parent.fd, first.slice(slash + 1), toDirFd, name), { path: first, dest: path });
}

/** What {@link copyInto} does not touch: the root directory itself. */
export function copyRootMetadata(from: OwnedFd, to: OwnedFd, { ownership, overlayXattrs, mapOwner }: CopyPolicy): void {
  if (overlayXattrs !== 'drop') applyOverlayXattrs(from.fd, '', to.fd, '', '/', overlayXattrs);
  const stat = statFd(from.fd);
  applyMetadata(to.fd, '.', '/', { ...stat, ...mapOwner?.(stat), xattrs: readXattrs(from.fd, '') }, ownership);
}
