import type { DirectoryPlace } from './directory-place.ts';
import { type CommitOptions, LayerStore, type StoredLayer } from './layer-store.ts';

/**
 * Makes an upper a new content-addressed layer in a store directory; see {@link LayerStore.commit}.
 *
 * @example
 * ```ts
 * const layer = await commit('/scratch/upper', '/var/lib/app/layers');
 * mountOverlay({ lower: [layer.path, '/layers/base'], target: '/mnt' });
 * ```
 */
export function commit(
  upper: DirectoryPlace,
  store: string | LayerStore,
  options: CommitOptions = {},
): Promise<StoredLayer> {
  return (typeof store === 'string' ? new LayerStore(store) : store).commit(upper, options);
}
