import { parseSize } from '@ns/cgroups';
import { SIGNALS } from '@ns/launch';
import * as v from 'valibot';

/* Schemas that fields of several options share; messages say what would be accepted. */

/** Text that can be handed to the kernel, where a NUL byte ends it. */
export const text = (expected: string) =>
  v.pipe(
    v.string(expected),
    v.check((value) => !value.includes('\0'), `${expected} without NUL bytes`),
  );

export const absolutePath = v.pipe(
  text('an absolute path'),
  v.check((value) => value.startsWith('/'), 'an absolute path'),
  v.check((value) => !value.split('/').includes('..'), "a path without '..'"),
);

export const boolean = v.boolean('true or false');

export const integer = (min: number, max: number) => {
  const expected = `an integer from ${min} to ${max}`;
  return v.pipe(v.number(expected), v.integer(expected), v.minValue(min, expected), v.maxValue(max, expected));
};

export const oneOf = <const T extends readonly string[]>(values: T) =>
  v.picklist(values, `one of ${values.map((value) => `'${value}'`).join(', ')}`);

/** Of something that has to take some time. */
export const milliseconds = v.pipe(
  v.number('milliseconds'),
  v.minValue(1, 'milliseconds from 1'),
  v.maxValue(2 ** 31 - 1, 'milliseconds below 2^31'),
);

export const signalName = v.custom<NodeJS.Signals>(
  (value) => typeof value === 'string' && Object.hasOwn(SIGNALS, value),
  "a signal name such as 'SIGTERM'",
);

export const abortSignal = v.instance(AbortSignal, 'an AbortSignal');

/** Bytes of something that has to end somewhere. */
export const size = v.custom<number | string>(
  (value) => Number.isFinite(readSize(value)),
  "a number of bytes or a size such as '256MiB'",
);

/** Bytes of a limit, which may be none. */
export const sizeOrMax = v.custom<number | string>(
  (value) => readSize(value) !== undefined,
  "a number of bytes, a size such as '256MiB', or 'max'",
);

function readSize(value: unknown): number | undefined {
  try {
    return parseSize(value, 'size');
  } catch {
    return undefined;
  }
}

/**
 * An object with these keys and no others. Arrays, Maps and the like have none of them, and would be taken for an object
 * without options.
 */
export const object = <const E extends v.ObjectEntries>(entries: E, expected = 'an object') =>
  v.pipe(v.custom<object>(isPlainObject, expected), v.strictObject(entries, expected));

/** An object whose keys are the caller's. */
export const dictionary = <
  Key extends v.GenericSchema<string, string>,
  Value extends v.GenericSchema<unknown, unknown>,
>(
  key: Key,
  value: Value,
  expected: string,
) => v.pipe(v.custom<object>(isPlainObject, expected), v.record(key, value, expected));

/** Realms have their own `Object`: what one of another realm is, its tag tells. */
export function isPlainObject(value: unknown): value is object {
  return Object.prototype.toString.call(value) === '[object Object]';
}
