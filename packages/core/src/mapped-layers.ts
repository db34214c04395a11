import { type OwnedFd, ResourceStack, SyscallError } from '@ns/libc';
import { cloneMount, createUserNamespace, idmapMount } from '@ns/mounts';
import { kernelAtLeast, readHost } from './host.ts';
import type { MountContext } from './mounts.ts';
import type { ResolvedRoot } from './rootfs.ts';
import type { ContainerSpec } from './types.ts';

/** Will a container have a user namespace whose ids are others outside, made by root? */
export function hasOwnIds({ idMap, namespaces }: ContainerSpec): boolean {
  return process.geteuid!() === 0 && (idMap !== undefined || namespaces?.user === 'private');
}

/**
 * The layers of a root with their ids mapped: what belongs to 0 on disk belongs to the container's root. Detached mounts,
 * by the names that steps use.
 *
 * Since Linux 5.19 overlays take such layers. Before, or where a file system cannot map ids, there are none: the files
 * then show as 65534.
 */
export async function mapLayers(
  root: ResolvedRoot,
  { ids: { idMaps }, canCloneMounts }: MountContext,
): Promise<ReadonlyMap<string, OwnedFd>> {
  const mapped = new Map<string, OwnedFd>();
  if (!idMaps || !canCloneMounts || root.host || root.kind !== 'overlay' || !kernelAtLeast(readHost(), 5, 19))
    return mapped;
  using rollback = new ResourceStack();
  using namespace = await createUserNamespace(idMaps);
  try {
    for (const [index, path] of root.layers.entries()) {
      const mount = rollback.use(cloneMount(path));
      idmapMount(mount, namespace);
      mapped.set(`${path} with mapped ids (layer ${index})`, mount);
    }
  } catch (error) {
    if (error instanceof SyscallError && error.code === 'EINVAL') return new Map();
    throw error;
  }
  rollback.release();
  return mapped;
}
