import { onlyKnownKeys } from '@ns/libc';
import type { Change } from './change.ts';
import { ChangeStream } from './change-stream.ts';
import { type Comparison, sameFile } from './compare-files.ts';
import { type DirectoryPlace, openDirectory } from './directory-place.ts';
import { findChanges } from './find-changes.ts';
import { LowerView } from './lower-view.ts';
import type { Steps } from './time-slices.ts';

/** How {@link diffTrees} compares. */
export interface DiffTreesOptions {
  /**
   * Default `content`: files of one size are read and compared, times do not count. `times`: rsync's rule, size and
   * modification time, nothing is read; fast, but whoever can write can also set times.
   */
  readonly compare?: Comparison;
  /** Also below mount points of `after`. Default: no. */
  readonly crossMounts?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * What differs between any two trees: type, permissions, owner, extended attributes, link targets, device numbers and content.
 * No link is followed in either. Privilege: that of reading the files.
 *
 * @returns awaitable (array) and async-iterable
 *
 * @example
 * ```ts
 * const changes = await diffTrees('/backup/yesterday', '/srv/data', { compare: 'times' });
 * ```
 */
export function diffTrees(before: DirectoryPlace, after: DirectoryPlace, options: DiffTreesOptions = {}): ChangeStream {
  onlyKnownKeys(options, ['compare', 'crossMounts', 'signal'], '');
  const { compare = 'content', crossMounts = false, signal } = options;
  return new ChangeStream(function* (): Steps<Change> {
    using tree = openDirectory(after);
    using was = new LowerView([before], 'none');
    yield* findChanges({
      after: tree,
      before: was,
      whiteouts: 'none',
      crossMounts,
      whole: true,
      isSame: (x, y) => sameFile(x, y, compare),
    });
  }, signal);
}
