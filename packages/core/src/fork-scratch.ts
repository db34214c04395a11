import { SpecError, UnavailableError } from '@ns/libc';
import type { IdLease } from '@ns/namespaces';
import { type FirstFiles, snapshotContainer } from './container-files.ts';
import { ownersOutside } from './file-owners.ts';
import { scratchOptions } from './plan/root-steps.ts';
import { resolveRoot } from './rootfs.ts';
import { newScratch, type Scratch } from './scratch.ts';
import type { ContainerSpec } from './types.ts';
import { resolveIdMaps } from './user-namespace.ts';

/**
 * The scratch of a container that begins with the changes of another one.
 *
 * @throws SpecError when the specification leaves no place for them
 * @throws UnavailableError for an ordinary user
 */
export function forkScratch(
  spec: ContainerSpec,
  ids: IdLease | undefined,
  files: readonly FirstFiles[],
): Promise<Scratch> {
  const root = resolveRoot(spec);
  if (
    root.writable === 'none' ||
    root.writable === 'direct' ||
    (typeof root.writable === 'object' && 'upper' in root.writable)
  )
    throw new SpecError('writable', "'tmpfs' or { tmpfs: size }, for the files it begins with", spec.writable);
  if (process.geteuid!() !== 0)
    throw new UnavailableError(
      'fork()',
      'an ordinary user cannot mount what a container begins with outside of its user namespace',
      'commit() this one and create others with that layer on top of its own: rootfs: { layers: [layer.path, …] }',
    );
  const idMaps = resolveIdMaps(spec, ids);
  const outside = idMaps && ownersOutside(idMaps);
  const owner = { uid: 0, gid: 0 };
  return newScratch(scratchOptions(root), outside?.(owner) ?? owner, (scratch) =>
    snapshotContainer(files, scratch, outside),
  );
}
