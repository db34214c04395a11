import type { IdMaps, IdRange } from '@ns/launch';
import type { Owner } from '@ns/overlayfs';

/** Ids of a user namespace: `container` inside, `host` as this process sees them. */
type Ids = Pick<IdMaps, 'uids' | 'gids'>;

/** Translates the owner of a file. */
export type MapOwner = (owner: Owner) => Owner;

/** What an id shows as where it is not mapped: /proc/sys/kernel/overflowuid. */
const NOBODY = 65534;

/** Owners as a container sees them, of those that this process sees. */
export function ownersInside({ uids, gids }: Ids): MapOwner {
  return ({ uid, gid }) => ({
    uid: translate(uids, uid, 'host', 'container'),
    gid: translate(gids, gid, 'host', 'container'),
  });
}

/** Owners as this process sees them, of those that a container sees; who has no id there becomes its nobody, or its root. */
export function ownersOutside({ uids, gids }: Ids): MapOwner {
  const outside = (ranges: readonly IdRange[], id: number) =>
    [id, NOBODY, 0].map((wanted) => find(ranges, wanted, 'container', 'host')).find((found) => found !== undefined) ??
    id;
  return ({ uid, gid }) => ({ uid: outside(uids, uid), gid: outside(gids, gid) });
}

/**
 * Owners that files can be given inside, of those that this process sees, or that are those inside already. Who has no id there
 * cannot be named: it is root instead.
 */
export function givableOwners({ uids, gids }: Ids, seen: 'inside' | 'outside'): MapOwner {
  const give = (ranges: readonly IdRange[], id: number) => {
    if (seen === 'outside') return find(ranges, id, 'host', 'container') ?? 0;
    return find(ranges, id, 'container', 'host') === undefined ? 0 : id;
  };
  return ({ uid, gid }) => ({ uid: give(uids, uid), gid: give(gids, gid) });
}

type Side = 'container' | 'host';

function translate(ranges: readonly IdRange[], id: number, from: Side, to: Side): number {
  return find(ranges, id, from, to) ?? NOBODY;
}

function find(ranges: readonly IdRange[], id: number, from: Side, to: Side): number | undefined {
  const range = ranges.find((each) => id >= each[from] && id < each[from] + each.size);
  return range && range[to] + id - range[from];
}
