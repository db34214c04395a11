import { onlyKnownKeys } from '@ns/libc';
import { type Change, summarize } from './change.ts';
import { ChangeStream } from './change-stream.ts';
import { type NamedFile, sameFile } from './compare-files.ts';
import { type DirectoryPlace, openDirectory } from './directory-place.ts';
import { findChanges } from './find-changes.ts';
import { LowerView } from './lower-view.ts';
import type { Owner } from './owner.ts';
import type { Steps } from './time-slices.ts';
import { type WalkOptions, walkLayer } from './walk-layer.ts';
import type { StackedLayer } from './walk-stack.ts';
import { overlayXattr, type WhiteoutForm } from './whiteouts.ts';

/** How {@link diffLayer} reads a layer. */
export interface DiffLayerOptions {
  /** Default `overlay`: the kernel's marks alone, so that a file somebody named `.wh.x` is just that. */
  readonly whiteouts?: WhiteoutForm;
  /** Owners in the upper as the lowers would have them: translate from the host's ids to the container's. Default: as they are. */
  readonly mapOwner?: (owner: Owner) => Owner;
  readonly signal?: AbortSignal;
}

/**
 * What was changed through an overlay mount, read from its upper directory: work in proportion to the changes, not to the
 * tree. Reads the upper (and looks up single names in the lowers) through descriptors; no link is followed.
 *
 * With `lowers` the answer is exact: a directory that is in the upper only because something below it changed is left out, a
 * file that was opened for writing and not written is too, and what an opaque directory hides is listed as deleted.
 * Without, `modified` means that overlayfs marked the file as copied up; a file that replaced another by rename(2) counts
 * as `added`, and `deleted` paths have no type.
 *
 * Privilege: reading `trusted.*` attributes needs CAP_SYS_ADMIN in the initial user namespace (not for `userxattr` layers).
 *
 * @param upper - the `upperdir`; best when nothing writes to it
 * @param lowers - the `lowerdir`s, topmost first, or a directory that shows them merged; with `mapOwner` where one has other
 * ids than the rest
 * @returns awaitable (array) and async-iterable
 *
 * @example
 * ```ts
 * for await (const { kind, path } of diffLayer('/scratch/upper', ['/layers/2', '/layers/1'])) {
 *   if (kind === 'deleted') throw new Error(`${path} is gone`);
 * }
 * ```
 */
export function diffLayer(
  upper: DirectoryPlace,
  lowers?: StackedLayer | readonly StackedLayer[],
  options: DiffLayerOptions = {},
): ChangeStream {
  onlyKnownKeys(options, ['whiteouts', 'mapOwner', 'signal'], '');
  const { whiteouts = 'overlay', mapOwner, signal } = options;
  const walk: WalkOptions = { whiteouts, ...(mapOwner && { mapOwner }) };
  if (lowers === undefined) return new ChangeStream(() => changesByMarks(upper, walk), signal);
  const list = Array.isArray(lowers) ? (lowers as readonly StackedLayer[]) : [lowers as StackedLayer];
  return new ChangeStream(() => changesAgainst(upper, list, walk), signal);
}

function* changesAgainst(upper: DirectoryPlace, lowers: readonly StackedLayer[], walk: WalkOptions): Steps<Change> {
  using after = openDirectory(upper);
  using before = new LowerView(lowers);
  yield* findChanges({ ...walk, after, before, whole: false, isSame: isMereCopy });
}

/** Overlayfs copies a file up, with its times, when it is opened for writing. Times can be forged, so the bytes decide. */
function isMereCopy(before: NamedFile, after: NamedFile): boolean {
  const { stat: x } = before;
  const { stat: y } = after;
  return x.mtimeSec === y.mtimeSec && x.mtimeNsec === y.mtimeNsec && sameFile(before, after, 'content');
}

function* changesByMarks(upper: DirectoryPlace, walk: WalkOptions): Steps<Change> {
  using root = openDirectory(upper);
  for (const { path, dirFd, name, stat, whiteout } of walkLayer(root, walk)) {
    if (whiteout) yield { kind: 'deleted', path: `/${path}` };
    else
      yield {
        kind: overlayXattr(dirFd, name, 'origin') === undefined ? 'added' : 'modified',
        path: `/${path}`,
        ...summarize(stat),
      };
  }
}
