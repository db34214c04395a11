import { SpecError } from './errors.ts';

/**
 * Refuses an options object with a key nobody reads: a misspelt restriction must not be silently none.
 *
 * @param field - path of the object, for the message; empty for the outermost
 * @throws SpecError that names the nearest known key
 */
export function onlyKnownKeys(
  value: unknown,
  keys: readonly string[],
  field: string,
): asserts value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SpecError(field || 'options', 'an object', value);
  }
  for (const key of Object.keys(value)) {
    if (keys.includes(key)) continue;
    const near = nearest(key, keys);
    const hint = near && `Did you mean ${near}?`;
    throw new SpecError(field ? `${field}.${key}` : key, `one of the keys ${keys.join(', ')}`, key, hint);
  }
}

/** The candidate most like a word that is none of them, or `undefined` when none is much like it. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, word.length / 2) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Levenshtein's distance. */
function editDistance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i++) {
    const next = [i];
    for (let j = 1; j <= right.length; j++) {
      const replaced = row[j - 1]! + (left[i - 1] === right[j - 1] ? 0 : 1);
      next[j] = Math.min(next[j - 1]! + 1, row[j]! + 1, replaced);
    }
    row = next;
  }
  return row[right.length]!;
}
