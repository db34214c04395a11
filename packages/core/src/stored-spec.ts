import type { MountSpec } from './mount-spec.ts';
import type { ContainerSpec } from './types.ts';

/** A specification as it is on disk: without what was only for its maker, and without secrets. */
export type StoredSpec = Omit<ContainerSpec, 'stdin'>;

/** Leaves out input, and the content of files, which is promised never to reach a disk. */
export function specToStore({ stdin: _, mounts, ...spec }: ContainerSpec): StoredSpec {
  return mounts === undefined ? spec : { ...spec, mounts: mounts.map(withoutContent) };
}

/** A mount without the content of a file. */
export function withoutContent(mount: MountSpec): MountSpec {
  return mount.type === 'file' ? { ...mount, content: '' } : mount;
}
