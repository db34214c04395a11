/* The shapes of text in cgroup files (cgroup-v2.rst, "Interface Files"). */

/** `KEY VALUE` lines. */
export function parseFlatKeyed(text: string): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (let at = 0; at < text.length; ) {
    const space = text.indexOf(' ', at);
    let end = text.indexOf('\n', at);
    if (end < 0) end = text.length;
    if (space > at && space < end) values.set(text.slice(at, space), Number(text.slice(space + 1, end)));
    at = end + 1;
  }
  return values;
}

/** `KEY SUB=VALUE SUB=VALUE` lines, of `io.stat` and the pressure files. */
export function parseNestedKeyed(text: string): ReadonlyMap<string, ReadonlyMap<string, number>> {
  const lines = new Map<string, ReadonlyMap<string, number>>();
  for (const line of text.split('\n')) {
    const [key, ...pairs] = line.split(' ');
    if (!key || pairs.length === 0) continue;
    const values = new Map<string, number>();
    for (const pair of pairs) {
      const equals = pair.indexOf('=');
      if (equals > 0) values.set(pair.slice(0, equals), Number(pair.slice(equals + 1)));
    }
    lines.set(key, values);
  }
  return lines;
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
