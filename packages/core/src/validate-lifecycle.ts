import { parseSize } from '@ns/cgroups';
import * as v from 'valibot';
import { absolutePath, dictionary, milliseconds, object, size, text } from './field-schemas.ts';

/* Schemas of what happens around the runs of a container. Functions and classes have no place in it: it is data. */

const count = v.pipe(v.number('a number from 1'), v.integer('a number from 1'), v.minValue(1, 'a number from 1'));
const portExpected = 'a port from 1 to 65535';
const port = v.pipe(
  v.number(portExpected),
  v.integer(portExpected),
  v.minValue(1, portExpected),
  v.maxValue(65535, portExpected),
);
const pattern = v.union(
  [v.pipe(v.string('text'), v.minLength(1, 'a text to look for')), v.instance(RegExp, 'a regular expression')],
  'a regular expression or a text to look for',
);
const httpStatus = v.pipe(v.number('an HTTP status'), v.integer('an HTTP status'));
const timeout = v.optional(milliseconds);

const condition: v.GenericSchema = v.lazy(() =>
  v.variant(
    'kind',
    [
      v.strictObject({
        kind: v.literal('log'),
        pattern,
        times: v.optional(count),
        stream: v.optional(v.picklist(['stdout', 'stderr'], "'stdout' or 'stderr'")),
        timeout,
      }),
      v.strictObject({ kind: v.literal('port'), port, timeout }),
      v.strictObject({
        kind: v.literal('http'),
        path: v.pipe(v.string('a path'), v.regex(/^\/[\x21-\x7e]*$/, 'a path from / on, percent-encoded')),
        port: v.optional(port),
        method: v.optional(v.pipe(v.string('a method'), v.regex(/^[A-Z]+$/, 'a method such as GET'))),
        headers: v.optional(dictionary(v.string('a name'), v.string('a value'), 'an object of strings')),
        status: v.optional(v.union([httpStatus, v.array(httpStatus)], 'a status or an array of them')),
        body: v.optional(pattern),
        timeout,
      }),
      v.strictObject({ kind: v.literal('health'), timeout }),
      v.strictObject({ kind: v.literal('exit'), exitCode: v.optional(v.number('an exit code')), timeout }),
      ...(['all', 'any'] as const).map((kind) =>
        v.strictObject({ kind: v.literal(kind), conditions: conditionList, timeout }),
      ),
    ],
    'a condition made by Wait',
  ),
);
const conditionList: v.GenericSchema = v.pipe(
  v.array(condition, 'an array of conditions'),
  v.minLength(1, 'at least one condition'),
);

const logSize = v.pipe(
  size,
  v.check((value) => parseSize(value, 'size') >= 64 * 1024, 'a size from 64 KiB on'),
);
const word = v.pipe(text('text'), v.minLength(1, 'text that is not empty'));
const restartExpected = "'no', 'on-failure', 'on-failure:N', 'always' or 'unless-stopped'";

/** Fields of a specification that concern a container's life, not one run. */
export const lifecycleFields = {
  wait: v.optional(condition),
  health: v.optional(
    object({
      command: v.union(
        [word, v.pipe(v.array(word, 'an array of words'), v.minLength(1, 'a program and its arguments'))],
        'a shell command or an array of program and arguments',
      ),
      interval: v.optional(milliseconds),
      timeout,
      retries: v.optional(count),
      startPeriod: v.optional(v.pipe(v.number('milliseconds'), v.minValue(0, 'milliseconds from 0'))),
      startInterval: v.optional(milliseconds),
    }),
  ),
  log: v.optional(
    object({
      format: v.optional(v.picklist(['json', 'raw'], "'json' or 'raw'")),
      maxSize: v.optional(logSize),
      maxFiles: v.optional(v.pipe(count, v.maxValue(100, 'a number up to 100'))),
      directory: v.optional(absolutePath),
    }),
  ),
  cgroupAccess: v.optional(v.picklist(['readonly', 'delegated'], "'readonly' or 'delegated'")),
  restart: v.optional(
    v.pipe(
      v.string(restartExpected),
      v.regex(/^(no|always|unless-stopped|on-failure(:[1-9]\d{0,5})?)$/, restartExpected),
    ),
  ),
};
