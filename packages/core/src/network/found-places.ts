import type { Endpoint } from '@ns/netns';
import { storedNames } from './network-store.ts';
import { hasMark } from './owner-mark.ts';

/**
 * Networks of a container that another process has connected, by name, with its place in each: from their records. Nothing is
 * opened, served or made anew for that.
 */
export async function findPlaces(id: string): Promise<readonly (readonly [name: string, endpoint: Endpoint])[]> {
  // Most have none, and loading what is needed for networks takes a tenth of a second.
  if (!hasMark(id)) return [];
  const { placeIn } = await import('./opened-networks.ts');
  const places: [string, Endpoint][] = [];
  for (const name of storedNames()) {
    const place = await placeIn(name, id);
    if (place) places.push([name, place]);
  }
  return places;
}
