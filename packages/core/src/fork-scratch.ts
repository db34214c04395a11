import { SpecError, UnavailableError } from '@ns/libc';
import type { IdLease } from '@ns/namespaces';
import { snapshotContainer } from './container-changes.ts';
import type { FirstFiles } from './container-overlays.ts';
import { ownersOutside } from './file-owners.ts';
import { scratchOptions } from './plan/root-steps.ts';
import { resolveRoot } from './rootfs.ts';
import { newScratch, type Scratch } from './scratch.ts';
import type { ContainerSpec } from './types.ts';
import { resolveIdMaps } from './user-namespace.ts';
import { newUserScratch } from './user-scratch.ts';

/**
 * The scratch of a container that begins with the changes of another one.
 *
 * @throws SpecError when the specification leaves no place for them
 * @throws UnavailableError for an ordinary user, when it has not the ids of the other; or without cp(1)
 * @throws NsError `ERR_NS_FORK`: not everything could be copied
 */
export function forkScratch(
  spec: ContainerSpec,
  ids: IdLease | undefined,
  files: readonly FirstFiles[],
): Promise<Scratch> {
  const root = resolveRoot(spec);
  const { writable } = root;
  const hasNoPlace =
    writable === 'none'
      ? files.some(({ readonly }) => !readonly)
      : writable === 'direct' || (typeof writable === 'object' && 'upper' in writable);
  if (hasNoPlace)
    throw new SpecError('writable', "'tmpfs' or { tmpfs: size }, for the files it begins with", spec.writable);
  const idMaps = resolveIdMaps(spec, ids);
  if (process.geteuid!() !== 0) {
    if (idMaps) return newUserScratch(scratchOptions(root), idMaps, files);
    throw new UnavailableError(
      'fork()',
      "an ordinary user cannot fill what belongs to another container's user namespace",
      'Leave namespaces.user out',
    );
  }
  const outside = idMaps && ownersOutside(idMaps);
  const owner = { uid: 0, gid: 0 };
  return newScratch(scratchOptions(root), outside?.(owner) ?? owner, (scratch) =>
    snapshotContainer(files, scratch, outside),
  );
}
