import { SpecError } from '@ns/libc';

/**
 * Refuses keys nobody reads: a misspelt limit must not be silently no limit.
 *
 * @throws SpecError that names the nearest known key
 */
export function onlyKnownKeys(
  value: unknown,
  keys: readonly string[],
  field: string,
): asserts value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new SpecError(field, 'an object', value);
  for (const key of Object.keys(value)) {
    if (keys.includes(key)) continue;
    const near = [...keys].sort((a, b) => distance(a, key) - distance(b, key))[0];
    throw new SpecError(`${field}.${key}`, `one of ${keys.join(', ')}`, key, near && `Did you mean ${near}?`);
  }
}

/** Levenshtein's distance, case aside. */
function distance(a: string, b: string): number {
  const left = a.toLowerCase();
  const right = b.toLowerCase();
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i++) {
    const next = [i];
    for (let j = 1; j <= right.length; j++) {
      next[j] = Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (left[i - 1] === right[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[right.length]!;
}
