import { isDeepStrictEqual } from 'node:util';
import { hasCode, isAlive } from '@ns/libc';
import type { Endpoint } from '@ns/netns';
import { readState } from '../container-state.ts';
import { sharesMounts } from '../shared-mounts.ts';
import { addressesOf } from './endpoint-addresses.ts';
import { findPlaces } from './found-places.ts';
import { liveNetworks } from './live-networks.ts';
import { renameInHosts } from './network-files.ts';

/** Networks know a container by its host name and aliases alone, until {@link nameOnNetworks}. */
export async function unnameOnNetworks(id: string): Promise<void> {
  await rename(id, () => undefined);
}

/** Networks, and its own /etc/hosts, know a container by its name, whoever connected it. */
export async function nameOnNetworks(id: string): Promise<void> {
  const places = await rename(id, () => readState(id)?.name);
  const state = readState(id);
  if (places.length === 0 || !state?.init || sharesMounts(state.spec)) return;
  const [{ NetNamespace }, { ownNames }] = await Promise.all([import('@ns/netns'), import('./own-names.ts')]);
  try {
    using netns = await NetNamespace.open({ pid: state.init.pid });
    // Not that of who has got its pid.
    if (!isAlive(state.init)) return;
    renameInHosts(
      state.init.pid,
      netns,
      places.flatMap(addressesOf),
      ownNames(id, { ...state.spec, name: state.name }),
    );
  } catch (error) {
    // It has ended.
    if (!hasCode(error, 'ENOENT', 'ESRCH')) throw error;
  }
}

/** @returns its places that have other names now */
async function rename(id: string, name: () => string | undefined): Promise<Endpoint[]> {
  const { places } = await findPlaces({ id });
  const spec = readState(id)?.spec;
  if (places.length === 0 || !spec) return [];
  const [{ holdNetwork }, { namesForOthers }] = await Promise.all([
    import('./opened-networks.ts'),
    import('./own-names.ts'),
  ]);
  const names = () => namesForOthers(id, { ...spec, name: name() });
  const renamed: Endpoint[] = [];
  for (const [network, place] of places) {
    if (isDeepStrictEqual(place.names, [...new Set([...names(), ...(place.aliases ?? [])])])) continue;
    try {
      const hold = await holdNetwork(network);
      try {
        const endpoint = await hold.network.rename(id, names);
        if (!endpoint) continue;
        renamed.push(endpoint);
        liveNetworks.get(id)?.isAt(network, endpoint);
      } finally {
        await hold.release();
      }
    } catch (error) {
      if (!hasCode(error, 'ERR_NS_NETWORK_NOT_FOUND')) throw error;
    }
  }
  return renamed;
}
