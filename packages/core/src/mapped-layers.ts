import type { IdMaps } from '@ns/launch';
import {
  AT_RECURSIVE,
  MOUNT_ATTR,
  mountSetattr,
  type OwnedFd,
  ResourceStack,
  SyscallError,
  UnavailableError,
} from '@ns/libc';
import { cloneMount, createUserNamespace, idmapMount } from '@ns/mounts';
import { kernelAtLeast, readHost } from './host.ts';
import type { MountContext } from './mounts.ts';
import type { ResolvedRoot } from './rootfs.ts';
import type { ContainerSpec } from './types.ts';
import { resolveIdMaps, sharesIds } from './user-namespace.ts';

/** Will a container that root makes be in a user namespace whose ids are others outside? */
export function hasOwnIds(spec: ContainerSpec): boolean {
  const { idMap, namespaces } = spec;
  if (process.geteuid!() !== 0) return false;
  if (sharesIds(spec)) return resolveIdMaps(spec, undefined) !== undefined;
  return idMap !== undefined || namespaces?.user === 'private';
}

/**
 * The layers of a root with their ids mapped: what belongs to 0 on disk belongs to the container's root. Detached mounts,
 * by the names that steps use.
 *
 * Since Linux 5.19 overlays take such layers. Before, or where a file system cannot map ids, there are none: the files
 * then show as 65534. A root that is written itself would be useless so.
 *
 * @throws UnavailableError the file system of a root that is written itself, or one mounted below it, cannot map ids
 */
export async function mapLayers(
  root: ResolvedRoot,
  { ids: { idMaps }, canCloneMounts }: MountContext,
): Promise<ReadonlyMap<string, OwnedFd>> {
  const mapped = new Map<string, OwnedFd>();
  if (!idMaps || !canCloneMounts || root.host) return mapped;
  if (root.kind === 'bind') return mapRoot(root.layers[0]!, idMaps);
  if (!kernelAtLeast(readHost(), 5, 19)) return mapped;
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

/** The same of a root that is written itself, with what is mounted below it. */
async function mapRoot(path: string, idMaps: Pick<IdMaps, 'uids' | 'gids'>): Promise<ReadonlyMap<string, OwnedFd>> {
  using rollback = new ResourceStack();
  using namespace = await createUserNamespace(idMaps);
  const mount = rollback.use(cloneMount(path, { recursive: true }));
  try {
    idmapMount(mount, namespace, { recursive: true });
  } catch (error) {
    if (!(error instanceof SyscallError) || error.code !== 'EINVAL') throw error;
    throw new UnavailableError(
      "writable: 'direct' with ids of the container's own",
      `the file system of ${path}, or one mounted below it, cannot map ids`,
      "Leave idMap out, or keep writes beside it: writable: 'tmpfs' or { dir }",
    );
  }
  // Its own user namespace may not do so any more.
  mountSetattr(mount.fd, { set: MOUNT_ATTR.NODEV }, AT_RECURSIVE);
  rollback.release();
  return new Map([[`${path} with mapped ids`, mount]]);
}
