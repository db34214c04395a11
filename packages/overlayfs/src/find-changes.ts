import { closeFd, type OwnedFd, readDirectory } from '@ns/libc';
import { type Change, summarize } from './change.ts';
import type { NamedFile } from './compare-files.ts';
import { sameMetadata } from './compare-files.ts';
import { openChildDirectory } from './directory-place.ts';
import { isDirectory } from './file-type.ts';
import type { LowerView } from './lower-view.ts';
import type { Steps } from './time-slices.ts';
import { join, type WalkOptions, walkLayer } from './walk-layer.ts';

/** What {@link findChanges} compares and how. */
export interface Comparing extends WalkOptions {
  /** The tree that shows the result: all of it, or the upper layer alone. */
  readonly after: OwnedFd;
  readonly before: LowerView;
  /** `after` is whole: what it does not have is deleted. Of an upper layer that holds only below opaque directories. */
  readonly whole: boolean;
  /** Whether two files of the same type are the same. */
  readonly isSame: (before: NamedFile, after: NamedFile) => boolean;
}

/** The changes that lead from `before` to `after`; one step per path looked at. */
export function* findChanges({ after, before, whole, isSame, ...walk }: Comparing): Steps<Change> {
  // Below an opaque directory the upper layer is all there is.
  let opaqueRoot: string | undefined;
  if (whole) yield* missing(after.fd, '.', '', before);
  for (const entry of walkLayer(after, walk)) {
    const { path, parent, name, dirFd, stat } = entry;
    const was = before.lookup(parent, name);
    if (entry.whiteout) {
      yield was && { kind: 'deleted', path: `/${path}`, ...summarize(was.stat) };
      continue;
    }
    if (!was) {
      yield { kind: 'added', path: `/${path}`, ...summarize(stat) };
      continue;
    }
    const old = { dirFd: was.dirFd, name, stat: was.stat };
    const bothDirectories = isDirectory(stat) && isDirectory(was.stat);
    const unchanged = bothDirectories ? sameMetadata(old, entry) : isSame(old, entry);
    yield unchanged
      ? undefined
      : { kind: 'modified', path: `/${path}`, ...summarize(stat), before: summarize(was.stat) };
    if (!bothDirectories) continue;
    if (opaqueRoot !== undefined && !path.startsWith(opaqueRoot)) opaqueRoot = undefined;
    if (entry.opaque && opaqueRoot === undefined) opaqueRoot = `${path}/`;
    if (whole || opaqueRoot !== undefined) yield* missing(dirFd, name, path, before);
  }
}

/** What a directory had and has no more. */
function* missing(dirFd: number, name: string, path: string, before: LowerView): Steps<Change> {
  const fd = openChildDirectory(dirFd, name);
  const present = new Set(fd < 0 ? [] : readDirectory(fd).map((entry) => entry.name));
  if (fd >= 0) closeFd(fd);
  for (const gone of before.list(path)) {
    const was = present.has(gone) ? undefined : before.lookup(path, gone);
    yield was && { kind: 'deleted', path: `/${join(path, gone)}`, ...summarize(was.stat) };
  }
}
