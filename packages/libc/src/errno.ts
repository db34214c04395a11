import { errnoTable } from './errno-table.ts';

const byNumber = new Map(errnoTable.map(([number, name, message]) => [number, { name, message }]));

/** errno numbers by name: `ERRNO.ENOENT === 2`. */
export const ERRNO: Readonly<Record<string, number>> = Object.freeze({
  ...Object.fromEntries(errnoTable.map(([number, name]) => [name, number])),
  EWOULDBLOCK: 11,
  EDEADLOCK: 35,
  ENOTSUP: 95,
});

/** `'ENOENT'` for 2; `'E<number>'` for a number the table does not know. Takes either sign. */
export function errnoName(number: number): string {
  return byNumber.get(Math.abs(number))?.name ?? `E${Math.abs(number)}`;
}

/** The text of strerror(3) in lower case. Takes either sign. */
export function errnoMessage(number: number): string {
  return byNumber.get(Math.abs(number))?.message ?? `unknown error ${Math.abs(number)}`;
}
