/* The shapes of text in cgroup files (cgroup-v2.rst, "Interface Files"). They are read for a thousand cgroups in a row, so there
   is no array of lines, and no string for a number. */

/** `KEY VALUE` lines. */
export function parseFlatKeyed(text: string): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (let at = 0; at < text.length; ) {
    const end = endOf(text, '\n', at, text.length);
    const space = endOf(text, ' ', at, end);
    if (space > at && space < end) values.set(text.slice(at, space), number(text, space + 1, end));
    at = end + 1;
  }
  return values;
}

/** `KEY SUB=VALUE SUB=VALUE` lines, of `io.stat` and the pressure files. */
export function parseNestedKeyed(text: string): ReadonlyMap<string, ReadonlyMap<string, number>> {
  const lines = new Map<string, ReadonlyMap<string, number>>();
  for (let at = 0; at < text.length; ) {
    const end = endOf(text, '\n', at, text.length);
    const space = endOf(text, ' ', at, end);
    if (space > at && space < end) lines.set(text.slice(at, space), parsePairs(text, space + 1, end));
    at = end + 1;
  }
  return lines;
}

function parsePairs(text: string, begin: number, end: number): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (let at = begin; at < end; ) {
    const space = endOf(text, ' ', at, end);
    const equals = endOf(text, '=', at, space);
    if (equals > at && equals < space) values.set(text.slice(at, equals), number(text, equals + 1, space));
    at = space + 1;
  }
  return values;
}

/** Where a character is found before `end`, which it is otherwise. */
function endOf(text: string, character: string, begin: number, end: number): number {
  const found = text.indexOf(character, begin);
  return found < 0 || found > end ? end : found;
}

/** The number in a part of a text; most are 0 or short. */
function number(text: string, begin: number, end: number): number {
  let value = 0;
  for (let at = begin; at < end; at++) {
    const digit = text.charCodeAt(at) - 48;
    // A fraction, a word, a sign, or more digits than a sum of doubles gets right.
    if (digit < 0 || digit > 9 || end - begin > 15) return Number(text.slice(begin, end));
    value = value * 10 + digit;
  }
  return value;
}

/** A file with one number; `max`, and v1's "no limit" just below 2^63, are `Infinity`; `undefined` for no file. */
export function parseNumber(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const trimmed = text.trim();
  if (trimmed === 'max') return Number.POSITIVE_INFINITY;
  const value = Number(trimmed);
  return value >= 2 ** 62 ? Number.POSITIVE_INFINITY : value;
}

/** Process ids, one a line. */
export function parsePids(text: string): number[] {
  return text.split('\n').filter(Boolean).map(Number);
}
