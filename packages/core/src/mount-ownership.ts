import type { IdMaps, IdRange } from '@ns/launch';
import type { UserNamespaceMaps } from '@ns/mounts';
import type { MountOwner } from './mount-spec.ts';
import type { ResolvedUser } from './user.ts';

/** Whose the files of a source are on disk. */
export interface DiskOwner {
  readonly uid: number;
  readonly gid: number;
}

/** Who a container's users are outside. */
export interface ContainerIds {
  readonly idMaps: Pick<IdMaps, 'uids' | 'gids'> | undefined;
  readonly user: Pick<ResolvedUser, 'uid' | 'gid'>;
}

/**
 * The maps of an id-mapped mount that make files belong to whom they should; undefined when plain numbers do.
 *
 * In such maps `container` is the id on disk, and `host` the one that the kernel sees.
 */
export function mapsForOwner(
  owner: MountOwner | undefined,
  disk: DiskOwner,
  ids: ContainerIds,
): UserNamespaceMaps | undefined {
  const { idMaps, user } = ids;
  if (owner === undefined) return undefined;
  if (owner === 'keep') return idMaps && { uids: idMaps.uids, gids: idMaps.gids };
  const [uid, gid] = [outside(user.uid, idMaps?.uids), outside(user.gid, idMaps?.gids)];
  if (uid === disk.uid && gid === disk.gid) return undefined;
  return {
    uids: [{ container: disk.uid, host: uid, size: 1 }],
    gids: [{ container: disk.gid, host: gid, size: 1 }],
  };
}

/** The id on the host of one inside. */
export function outsideId({ ids }: { ids: ContainerIds }, kind: 'uids' | 'gids', id: number): number {
  return outside(id, ids.idMaps?.[kind]);
}

function outside(id: number, ranges: readonly IdRange[] | undefined): number {
  const range = ranges?.find(({ container, size }) => id >= container && id < container + size);
  return range ? range.host + id - range.container : id;
}
