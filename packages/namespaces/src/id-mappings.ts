import type { IdRange } from '@ns/launch';
import { onlyKnownKeys, SpecError } from '@ns/libc';
import { IdMap } from './id-map.ts';

/** Both maps of a user namespace, as options: plain ranges. */
export interface IdMappingSpec {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
}

/** Both maps of a user namespace, checked. */
export interface IdMappings {
  readonly uids: IdMap;
  readonly gids: IdMap;
}

/**
 * Checks both maps.
 *
 * @param field - what to call them in an error
 * @throws SpecError as {@link IdMap.of}, and when root inside would be nobody: a program cannot start without id 0
 */
export function parseIdMappings(spec: IdMappingSpec, field = 'idMap'): IdMappings {
  const keys: unknown = spec; // the assertion would take the types of the fields away
  onlyKnownKeys(keys, ['uids', 'gids'], field);
  const maps = { uids: IdMap.of(spec.uids, `${field}.uids`), gids: IdMap.of(spec.gids, `${field}.gids`) };
  for (const side of ['uids', 'gids'] as const) {
    if (maps[side].toHost(0) !== undefined) continue;
    throw new SpecError(
      `${field}.${side}`,
      'a map that has id 0 inside',
      maps[side].toString().trim(),
      'Add a range with container: 0',
    );
  }
  return maps;
}
