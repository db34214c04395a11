import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { IdMaps } from '@ns/launch';
import { SpecError, UnavailableError } from '@ns/libc';
import {
  allocateIds,
  canWriteDirectly,
  type IdLease,
  type IdMappings,
  ownIdMappings,
  parseIdMappings,
  rootlessIdMappings,
} from '@ns/namespaces';
import { stateDirectory } from './state-root.ts';
import type { ContainerSpec } from './types.ts';

/** Does a container get ids of its own, a range that no other container has? */
export function wantsIdLease({ idMap, namespaces }: ContainerSpec): boolean {
  return idMap === 'auto' || (idMap === undefined && namespaces?.user === 'private' && process.geteuid!() === 0);
}

/** Takes a free range of host ids for a container. */
export function leaseIds(id: string): Promise<IdLease> {
  return allocateIds({ stateDir: stateDirectory('ids'), id });
}

/**
 * The id maps of a container's user namespace; undefined when it has none.
 *
 * An ordinary user always gets one: without it nothing of the rest is allowed. Inside he is root. With subordinate ids
 * (`/etc/subuid`, newuidmap) there are other users as well; without, he is the only one.
 *
 * @throws SpecError for a map and, contradicting it, a user namespace that is there
 * @throws UnavailableError when a map needs newuidmap and it is not installed
 */
export function resolveIdMaps(spec: ContainerSpec, lease: IdLease | undefined): IdMaps | undefined {
  const { idMap, namespaces } = spec;
  if (idMap !== undefined && namespaces?.user !== undefined && namespaces.user !== 'private')
    throw new SpecError('idMap', 'either idMap or the user namespace of others', idMap);
  if (typeof namespaces?.user === 'object') return undefined;
  const rootless = process.geteuid!() !== 0;
  const mappings =
    lease?.mappings ?? (typeof idMap === 'object' ? parseIdMappings(idMap) : rootless ? rootlessMaps() : undefined);
  if (!mappings) return undefined;
  const ranges = { uids: mappings.uids.ranges, gids: mappings.gids.ranges };
  if (canWriteDirectly(mappings)) return { ...ranges, denySetgroups: rootless };
  const helpers = findHelpers();
  if (!helpers)
    throw new UnavailableError(
      'this id map',
      'mapping more than your own id needs newuidmap and newgidmap',
      'Install the package uidmap, or leave idMap out',
    );
  return { ...ranges, denySetgroups: false, helpers };
}

function rootlessMaps(): IdMappings {
  if (!findHelpers()) return ownIdMappings();
  try {
    return rootlessIdMappings();
  } catch (error) {
    if (error instanceof UnavailableError) return ownIdMappings();
    throw error;
  }
}

function findHelpers(): { uids: string; gids: string } | undefined {
  const find = (name: string) =>
    ['/usr/bin', '/bin', '/usr/local/bin'].map((directory) => join(directory, name)).find((path) => existsSync(path));
  const [uids, gids] = [find('newuidmap'), find('newgidmap')];
  return uids && gids ? { uids, gids } : undefined;
}
