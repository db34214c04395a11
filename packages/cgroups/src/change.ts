import { onlyKnownKeys, SpecError } from '@ns/libc';

/** One line to be written into one file of a cgroup. */
export interface Write {
  /** Field of {@link Limits} it comes from, `memory.max`. */
  readonly field: string;
  readonly file: string;
  readonly value: string;
  /** Why the file, or what heeds it, may be missing and what to do; its absence then counts as an absent limit. */
  readonly ifMissing?: Absence;
}

/** Why a limit cannot be set here. */
export interface Absence {
  readonly why: string;
  readonly fix?: string;
}

/** A limit that cannot be set in this tree. */
export interface AbsentLimit extends Absence {
  readonly field: string;
}

/**
 * What one limit becomes: a write, that children may have to be told of, too; two writes of which the kernel accepts one order
 * depending on what stands there now (v1's limit and limit+swap, quota and period); or the reason why there is none.
 */
export type Change =
  | { readonly write: Write; readonly handDown?: true }
  | { readonly eitherOrder: readonly [Write, Write] }
  | { readonly absent: AbsentLimit };

/** Present values of the cgroup to be changed; `undefined` for a file that does not exist. */
export type ReadFile = (file: string) => string | undefined;

/** One controller: what may be asked of it, and what that becomes on either version. All pure. */
export interface Driver<Wanted, Normal> {
  /** Checks and normalises what the user wrote. Throws SpecError. */
  parse(wanted: Wanted, field: string): Normal;
  v2(limits: Normal, read: ReadFile): readonly Change[];
  v1(limits: Normal, read: ReadFile): readonly Change[];
}

export function write(field: string, file: string, value: string | number, ifMissing?: Absence): Change {
  return { write: { field, file, value: String(value), ...(ifMissing ? { ifMissing } : {}) } };
}

export function absent(field: string, why: string, fix?: string): Change {
  return { absent: { field, why, ...(fix === undefined ? {} : { fix }) } };
}

/** `Infinity` is `max` on v2. */
export function orMax(value: number): string {
  return value === Number.POSITIVE_INFINITY ? 'max' : String(value);
}

/** `Infinity` is -1 in v1's memory, quota and hugetlb files. */
export function orMinusOne(value: number): string {
  return value === Number.POSITIVE_INFINITY ? '-1' : String(value);
}

/** An integer of a range. */
export function integer(min: number, max: number): (value: unknown, field: string) => number {
  return (value, field) => {
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value;
    throw new SpecError(field, `an integer from ${min} to ${max}`, value);
  };
}

/** An integer of a range, or `'max'` as `Infinity`. */
export function integerOrMax(min: number, max: number): (value: unknown, field: string) => number {
  const parse = integer(min, max);
  return (value, field) => {
    if (value === 'max' || value === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
    if (typeof value !== 'number') throw new SpecError(field, `an integer from ${min} to ${max}, or 'max'`, value);
    return parse(value, field);
  };
}

export function flag(value: unknown, field: string): boolean {
  if (typeof value === 'boolean') return value;
  throw new SpecError(field, 'true or false', value);
}

/** Parsers by key. */
export type Fields = Readonly<Record<string, (value: unknown, field: string) => unknown>>;

/** What {@link parseFields} makes of an object: every key optional, none `undefined`. */
export type Parsed<F extends Fields> = { readonly [Key in keyof F]?: ReturnType<F[Key]> };

/** Applies a table of parsers; keys that are `undefined` count as absent. */
export function parseFields<F extends Fields>(fields: F, value: unknown, field: string): Parsed<F> {
  onlyKnownKeys(value, Object.keys(fields), field);
  const parsed: Record<string, unknown> = {};
  for (const [key, given] of Object.entries(value)) {
    if (given !== undefined) parsed[key] = fields[key]!(given, `${field}.${key}`);
  }
  return parsed as Parsed<F>;
}
