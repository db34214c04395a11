import type { Endpoint } from '@ns/netns';
import type { ContainerState } from '../container-state.ts';
import type { ContainerPort } from './live-networks.ts';
import { storedNames } from './network-store.ts';
import { hasMark } from './owner-mark.ts';

/** Where a container is connected, and the ports it has there. */
export interface FoundPlaces {
  /** Its networks by name, with its place in each. */
  readonly places: readonly (readonly [name: string, endpoint: Endpoint])[];
  readonly ports: readonly ContainerPort[];
}

export const nowhere: FoundPlaces = { places: [], ports: [] };

/** Where another process has connected a container: from records. Nothing is opened, served or made anew for that. */
export async function findPlaces({
  id,
  userPorts = [],
}: Pick<ContainerState, 'id' | 'userPorts'>): Promise<FoundPlaces> {
  // Most have none, and loading what is needed for networks takes a tenth of a second.
  if (!hasMark(id)) return { places: [], ports: userPorts };
  const { placeIn } = await import('./opened-networks.ts');
  const places: [string, Endpoint][] = [];
  for (const name of storedNames()) {
    const place = await placeIn(name, id);
    if (place) places.push([name, place]);
  }
  return { places, ports: [...places.flatMap(([, { ports }]) => ports), ...userPorts] };
}
