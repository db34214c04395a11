import { onlyKnownKeys } from '@ns/libc';

/** Refuses options nobody reads, naming the nearest; the types of the fields stay as they are. */
export function checkKeys(options: unknown, keys: readonly string[]): void {
  onlyKnownKeys(options, keys, '');
}
