import { distance } from 'fastest-levenshtein';
import { SpecError } from './errors.ts';

/**
 * Refuses an options object with a key nobody reads: a misspelt restriction must not be silently none.
 *
 * @param field - path of the object, for the message; empty for the outermost
 * @throws SpecError that names the nearest known key
 */
export function onlyKnownKeys<T>(
  value: T,
  keys: readonly string[],
  field: string,
): asserts value is T & Record<string, unknown> {
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
  let bestDistance = Math.max(2, word.length / 3) + 1;
  for (const candidate of candidates) {
    const [given, known] = [word.toLowerCase(), candidate.toLowerCase()];
    const edits = isAbbreviation(given, known) ? 1 : distance(given, known);
    if (edits < bestDistance) [best, bestDistance] = [candidate, edits];
  }
  return best;
}

/** `cols` of columns, `mem` of memory: its letters in their order, from the first on. */
function isAbbreviation(word: string, known: string): boolean {
  let at = 0;
  for (const letter of known) if (letter === word[at]) at++;
  return word.length > 2 && word[0] === known[0] && at === word.length;
}
