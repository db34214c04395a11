import { closeFd, type OwnedFd, readDirectory, type Stat } from '@ns/libc';
import { type Change, summarize } from './change.ts';
import { type NamedFile, sameMetadata } from './compare-files.ts';
import { openChildDirectory } from './directory-place.ts';
import { isDirectory } from './file-type.ts';
import type { LowerView } from './lower-view.ts';
import type { Steps } from './time-slices.ts';
import { join, type LayerEntry, type WalkOptions, walkLayer } from './walk-layer.ts';

/** What {@link walkChanges} compares and how. */
export interface Comparing extends WalkOptions {
  /** The tree that shows the result: all of it, or the upper layer alone. */
  readonly after: OwnedFd;
  readonly before: LowerView;
  /** `after` is whole: what it does not have is deleted. Of an upper layer that holds only below opaque directories. */
  readonly whole: boolean;
  /** Whether two files of the same type are the same. */
  readonly isSame: (before: NamedFile, after: NamedFile) => boolean;
}

/** A path of the walk, and what became of it. */
export interface ChangedEntry {
  readonly kind: Change['kind'] | 'same';
  /** Of a deleted path, `dirFd` is not to be used. */
  readonly entry: LayerEntry;
  /** What it was before. */
  readonly was?: Stat;
}

/** Every path of `after` and every path that is gone, a directory before what is in it. */
function* walkChanges({ after, before, whole, isSame, ...walk }: Comparing): Steps<ChangedEntry> {
  // Below an opaque directory the upper layer is all there is.
  let opaqueRoot: string | undefined;
  if (whole) yield* missing(after.fd, '.', '', before);
  for (const entry of walkLayer(after, walk)) {
    const { path, parent, name, dirFd, stat } = entry;
    const was = before.lookup(parent, name);
    if (entry.whiteout) {
      yield was && { kind: 'deleted', entry, was: was.stat };
      continue;
    }
    if (!was) {
      yield { kind: 'added', entry };
      continue;
    }
    const old = { dirFd: was.dirFd, name, stat: was.stat };
    const bothDirectories = isDirectory(stat) && isDirectory(was.stat);
    const unchanged = bothDirectories ? sameMetadata(old, entry) : isSame(old, entry);
    yield { kind: unchanged ? 'same' : 'modified', entry, was: was.stat };
    if (!bothDirectories) continue;
    if (opaqueRoot !== undefined && !path.startsWith(opaqueRoot)) opaqueRoot = undefined;
    if (entry.opaque && opaqueRoot === undefined) opaqueRoot = `${path}/`;
    if (whole || opaqueRoot !== undefined) yield* missing(dirFd, name, path, before);
  }
}

/** What a directory had and has no more. */
function* missing(dirFd: number, name: string, path: string, before: LowerView): Steps<ChangedEntry> {
  const fd = openChildDirectory(dirFd, name);
  const present = new Set(fd < 0 ? [] : readDirectory(fd).map((entry) => entry.name));
  if (fd >= 0) closeFd(fd);
  for (const gone of before.list(path)) {
    const was = present.has(gone) ? undefined : before.lookup(path, gone);
    if (!was) continue;
    const entry = {
      path: join(path, gone),
      parent: path,
      name: gone,
      dirFd: -1,
      stat: was.stat,
      whiteout: true,
      opaque: false,
    };
    yield { kind: 'deleted', entry, was: was.stat };
  }
  yield undefined;
}

/** The changes that lead from `before` to `after`; one step per path looked at. */
export function* findChanges(comparing: Comparing): Steps<Change> {
  for (const step of walkChanges(comparing)) yield step && toChange(step);
}

function toChange({ kind, entry, was }: ChangedEntry): Change | undefined {
  const path = `/${entry.path}`;
  if (kind === 'same') return undefined;
  if (kind === 'deleted') return { kind, path, ...(was && summarize(was)) };
  return { kind, path, ...summarize(entry.stat), ...(was && { before: summarize(was) }) };
}

/** The paths a layer of the changes consists of: what changed, and the directories that lead there. */
export function* changedEntries(comparing: Comparing): Generator<LayerEntry | undefined> {
  const way: LayerEntry[] = [];
  for (const step of walkChanges(comparing)) {
    if (step === undefined) {
      yield undefined;
      continue;
    }
    const { kind, entry } = step;
    for (
      let top = way.at(-1);
      top && entry.parent !== top.path && !entry.parent.startsWith(`${top.path}/`);
      top = way.at(-1)
    )
      way.pop();
    if (kind !== 'same') yield* way.splice(0);
    if (kind !== 'same') yield entry;
    else if (isDirectory(entry.stat)) way.push(entry);
    else yield undefined;
  }
}
