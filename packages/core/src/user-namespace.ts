import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { IdMaps } from '@ns/launch';
import { SpecError, UnavailableError } from '@ns/libc';
import {
  allocateIds,
  canWriteDirectly,
  type IdLease,
  IdMap,
  type IdMappings,
  Namespace,
  ownIdMappings,
  parseIdMappings,
  rootlessIdMappings,
  shareIds,
} from '@ns/namespaces';
import { isOfOthers, type NamespaceOfOthers, ofMember, openOfOthers } from './namespaces-of-others.ts';
import { stateDirectory } from './state-root.ts';
import type { ContainerSpec } from './types.ts';

/** Does a container get ids of its own, a range that no other container has? */
export function wantsIdLease({ idMap, namespaces }: ContainerSpec): boolean {
  return idMap === 'auto' || (idMap === undefined && namespaces?.user === 'private' && process.geteuid!() === 0);
}

/** May it hold host ids: a range of its own, or that of a container whose user namespace it shares? */
export function mayHoldIds(spec: ContainerSpec): boolean {
  return wantsIdLease(spec) || sharesIds(spec);
}

/** Is it in the user namespace of others? */
export function sharesIds({ namespaces }: Pick<ContainerSpec, 'namespaces'>): boolean {
  return isOfOthers(namespaces?.user);
}

/** Takes host ids for a container, which nobody else gets as long as it has them. */
export async function holdIds(id: string, spec: ContainerSpec): Promise<IdLease | undefined> {
  if (wantsIdLease(spec)) return allocateIds({ stateDir: stateDirectory('ids'), id });
  const shared = sharesIds(spec) ? resolveIdMaps(spec, undefined) : undefined;
  return shared && shareIds({ stateDir: stateDirectory('ids'), id, ...shared });
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
  if (isOfOthers(namespaces?.user)) return idMapsOfOthers(namespaces.user);
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

/**
 * The maps of a user namespace that is there; undefined for the one that this process is in.
 *
 * @throws SpecError it has no root: nobody could set a container up in it
 */
function idMapsOfOthers(choice: NamespaceOfOthers): IdMaps | undefined {
  using namespace = openOfOthers(choice, 'user');
  using own = Namespace.current('user');
  if (namespace.equals(own)) return undefined;
  const maps = ofMember(choice, 'user', (pid) => ({
    uids: IdMap.read(pid, 'uid')?.ranges ?? [],
    gids: IdMap.read(pid, 'gid')?.ranges ?? [],
    denySetgroups: readFileSync(`/proc/${pid}/setgroups`, 'utf8').startsWith('deny'),
  }));
  for (const ranges of [maps.uids, maps.gids])
    if (!ranges.some(({ container }) => container === 0))
      throw new SpecError('namespaces.user', 'a user namespace in which id 0 is mapped', choice);
  return maps;
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
