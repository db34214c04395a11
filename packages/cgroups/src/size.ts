import { SpecError } from '@ns/libc';

/** Bytes as a number, or text with a binary unit as Docker reads it (`'1g'`, `'256MiB'`); `'max'` lifts a limit. */
export type Size = number | string;

const units = ['', 'k', 'm', 'g', 't', 'p', 'e'];
const expected = "a number of bytes >= 0, a size such as '256MiB', or 'max'";

/**
 * Reads a size.
 *
 * @returns bytes, `Infinity` for `'max'`
 * @throws SpecError for negative, fractional, unreadable or unsafe values
 */
export function parseSize(value: unknown, field: string): number {
  if (value === 'max' || value === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  const match = typeof value === 'string' ? /^\s*(\d+(?:\.\d+)?)\s*([kmgtpe]?)(?:i?b)?\s*$/i.exec(value) : null;
  if (!match) throw new SpecError(field, expected, value);
  const bytes = Math.floor(Number(match[1]) * 1024 ** units.indexOf(match[2]!.toLowerCase()));
  if (!Number.isSafeInteger(bytes)) throw new SpecError(field, 'a size below 8 PiB', value, "'max' means no limit");
  return bytes;
}
