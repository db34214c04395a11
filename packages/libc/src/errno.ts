import { errnoTable } from './errno-table.ts';

const byNumber = new Map<number, { readonly name: string; readonly message: string }>(
  errnoTable.map(([number, name, message]) => [number, { name, message }]),
);

/** `'ENOENT'` and the others, second names included. */
export type ErrnoName = (typeof errnoTable)[number][1] | 'EWOULDBLOCK' | 'EDEADLOCK' | 'ENOTSUP';

/** errno numbers by name: `ERRNO.ENOENT === 2`. */
export const ERRNO = Object.freeze({
  ...Object.fromEntries(errnoTable.map(([number, name]) => [name, number])),
  EWOULDBLOCK: 11,
  EDEADLOCK: 35,
  ENOTSUP: 95,
}) as Readonly<Record<ErrnoName, number>>;

/** 2 for `'ENOENT'`; undefined for a name the table does not know. */
export function errnoNumber(name: string): number | undefined {
  return Object.hasOwn(ERRNO, name) ? ERRNO[name as ErrnoName] : undefined;
}

/** `'ENOENT'` for 2; `'E<number>'` for a number the table does not know. Takes either sign. */
export function errnoName(number: number): string {
  return byNumber.get(Math.abs(number))?.name ?? `E${Math.abs(number)}`;
}

/** The text of strerror(3) in lower case. Takes either sign. */
export function errnoMessage(number: number): string {
  return byNumber.get(Math.abs(number))?.message ?? `unknown error ${Math.abs(number)}`;
}
