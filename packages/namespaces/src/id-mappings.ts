import type { IdRange } from '@ns/launch';
import { onlyKnownKeys, SpecError } from '@ns/libc';
import { IdMap } from './id-map.ts';

/** Both maps of a user namespace, as options: plain ranges. */
export interface IdMappingSpec {
  /** 1 to 340 ranges of uids. */
  readonly uids: readonly IdRange[];
  /** 1 to 340 ranges of gids. */
  readonly gids: readonly IdRange[];
}

/** Both maps of a user namespace, checked. */
export interface IdMappings {
  /** Of `/proc/PID/uid_map`. */
  readonly uids: IdMap;
  /** Of `/proc/PID/gid_map`. */
  readonly gids: IdMap;
}

/**
 * Checks both maps.
 *
 * @param field - what to call them in an error
 * @throws SpecError as {@link IdMap.of}, and when root inside would be nobody: a program cannot start without id 0
 *
 * @example
 * ```ts
 * const range = { container: 0, host: 100000, size: 65536 };
 * const { uids } = parseIdMappings({ uids: [range], gids: [range] });
 * ```
 */
export function parseIdMappings(spec: IdMappingSpec, field = 'idMap'): IdMappings {
  onlyKnownKeys(spec, ['uids', 'gids'], field);
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
