import { onlyKnownKeys } from '@ns/libc';
import { type DirectoryPlace, openDirectory } from './directory-place.ts';
import { defaultOwnership, type OwnershipPolicy, type PrivilegePolicy, type Skipped } from './file-metadata.ts';
import { fileType } from './file-type.ts';
import type { Owner } from './owner.ts';
import { assertSelfContained } from './self-contained.ts';
import { drain, type Steps } from './time-slices.ts';
import { TreeApplier } from './tree-applier.ts';
import { walkLayer } from './walk-layer.ts';
import type { WhiteoutForm } from './whiteouts.ts';
import { xattrNames } from './xattr-names.ts';

/** How {@link applyChanges} accepts changes. */
export interface ApplyChangesOptions {
  /** Which paths (absolute, as in a {@link Change}) to accept. Default: all. Directories an accepted path needs are made. */
  readonly select?: (path: string) => boolean;
  /** Default `keep` as root, `ignore` otherwise. */
  readonly ownership?: OwnershipPolicy;
  /**
   * `drop` leaves out what gives power on the host: devices are not made, files lose set-user-ID, set-group-ID and file
   * capabilities; `skipped` names each. For files of somebody untrusted. Default `keep`.
   */
  readonly privileges?: PrivilegePolicy;
  readonly mapOwner?: (owner: Owner) => Owner;
  readonly whiteouts?: WhiteoutForm;
  readonly signal?: AbortSignal;
}

/** What was done to the target. */
export interface AppliedChanges {
  readonly written: number;
  readonly deleted: number;
  readonly skipped: readonly Skipped[];
}

/**
 * Makes a tree like the result of a sandbox: carries out what {@link diffLayer} lists. Each file is written under a
 * temporary name and put in place with one rename(2), so whoever reads the tree sees the old file or the new one; a
 * directory that goes vanishes at once and is emptied after. Every step goes from a directory's descriptor to one of its
 * names: a link in the target, planted before or meanwhile, is replaced where the change says so and otherwise stops the
 * work, but is never followed.
 *
 * What arrives is what the sandbox made, powers included: as root, a set-user-ID program of root's or the node of a disk works
 * here as well. Of an untrusted tool take `privileges: 'drop'`.
 *
 * @param upper - the changes; nothing should write to it
 * @param target - the tree to change, `/` itself included
 * @throws UnsafePathError a link or file stands in the target where an accepted change needs a directory; what was done
 * until then remains
 * @throws ArchiveError ERR_NS_UNREPRESENTABLE for a layer made with redirect_dir or metacopy
 *
 * @example
 * ```ts
 * const { skipped } = await applyChanges('/scratch/upper', '/project', {
 *   select: (path) => path.startsWith('/src/'),
 *   privileges: 'drop',
 * });
 * ```
 */
export async function applyChanges(
  upper: DirectoryPlace,
  target: DirectoryPlace,
  options: ApplyChangesOptions = {},
): Promise<AppliedChanges> {
  onlyKnownKeys(options, ['select', 'ownership', 'privileges', 'mapOwner', 'whiteouts', 'signal'], '');
  using from = openDirectory(upper);
  using to = openDirectory(target);
  using applier = new TreeApplier(to, {
    select: options.select ?? (() => true),
    ownership: options.ownership ?? defaultOwnership(),
    privileges: options.privileges ?? 'keep',
    mapOwner: options.mapOwner ?? ((owner) => owner),
    kindConflict: 'replace',
  });
  function* steps(): Steps<never> {
    for (const entry of walkLayer(from, { whiteouts: options.whiteouts ?? 'overlay' })) {
      const { path, dirFd, name, stat, whiteout } = entry;
      if (!whiteout) assertSelfContained(path, fileType(stat.mode), xattrNames(dirFd, name));
      yield* applier.take(entry);
    }
    applier.finish();
  }
  await drain(steps(), () => {}, options.signal);
  return applier.result;
}
