import { SIGNALS } from '@ns/launch';
import { SpecError } from '@ns/libc';
import * as v from 'valibot';
import { boolean, dictionary, integer, isPlainObject, oneOf, text } from './field-schemas.ts';
import { type SchemaNode, type SpecIssue, toSpecError } from './spec-issue.ts';

/* What the calls on a container accept besides a specification. */

const signalName = v.custom<NodeJS.Signals>(
  (value) => typeof value === 'string' && Object.hasOwn(SIGNALS, value),
  "a signal name such as 'SIGTERM'",
);
const abortSignal = v.optional(v.instance(AbortSignal, 'an AbortSignal'));
const milliseconds = integer(0, 2 ** 31 - 1);
const status = oneOf(['created', 'running', 'paused', 'stopped', 'removed']);
const moment = v.union([v.date('a valid Date'), v.number('milliseconds')], 'a Date or milliseconds since 1970');

const path = v.pipe(
  text('a path'),
  v.check((value) => value !== '', 'a path'),
);

const absolutePath = v.pipe(
  path,
  v.check((value) => value.startsWith('/'), 'an absolute path'),
);

const patienceEntries = { signal: abortSignal, timeout: v.optional(milliseconds) };

/** Of each call that takes options, the options. `patience` is that of every call that may take long. */
const calls = {
  patience: v.strictObject(patienceEntries),
  checkpoint: v.strictObject({
    directory: absolutePath,
    leaveRunning: v.optional(boolean),
    tcpEstablished: v.optional(boolean),
    fileLocks: v.optional(boolean),
    ...patienceEntries,
  }),
  restore: v.strictObject({
    directory: absolutePath,
    name: v.optional(text('a name')),
    ...patienceEntries,
  }),
  list: v.strictObject({
    name: v.optional(text('a name')),
    labels: v.optional(dictionary(text('a label'), text('a string'), 'an object of strings')),
    status: v.optional(v.union([status, v.array(status, 'an array of states')], 'a state or an array of states')),
  }),
  kill: v.strictObject({ signal: signalName, all: v.optional(boolean) }),
  stop: v.strictObject({ timeout: v.optional(milliseconds), signal: v.optional(signalName) }),
  restart: v.strictObject({ timeout: v.optional(milliseconds), signal: v.optional(signalName) }),
  remove: v.strictObject({ force: v.optional(boolean), ...patienceEntries }),
  rename: v.strictObject({ name: text('a name') }),
  stats: v.strictObject({ interval: integer(1, 2 ** 31 - 1) }),
  logs: v.strictObject({
    follow: v.optional(boolean),
    tail: v.optional(integer(0, Number.MAX_SAFE_INTEGER)),
    since: v.optional(moment),
    signal: abortSignal,
  }),
  resize: v.strictObject({ columns: integer(1, 65_535), rows: integer(1, 65_535) }),
  update: v.strictObject({
    mounts: v.optional(
      v.strictObject({
        add: v.optional(v.array(v.looseObject({}), 'an array of mounts')),
        remove: v.optional(v.array(v.string('a path'), 'an array of paths')),
      }),
    ),
    limits: v.optional(v.unknown()),
    egress: v.optional(v.unknown()),
    bandwidth: v.optional(v.unknown()),
  }),
  updateOptions: v.strictObject({ dryRun: v.optional(boolean) }),
  fork: v.strictObject({ count: integer(1, 10_000) }),
  copy: v.strictObject({ from: path, to: path }),
} as const;

/**
 * Checks the options of a call.
 *
 * @throws SpecError naming the option; for an unknown key also the nearest one that exists
 */
export function checkCall<Options extends object>(call: keyof typeof calls, options: Options): Options {
  if (!isPlainObject(options)) throw new SpecError('options', 'an object', options);
  const schema: v.GenericSchema = calls[call];
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const result = v.safeParse(schema, given, { abortEarly: true });
  if (!result.success) throw toSpecError(result.issues[0] as SpecIssue, schema as SchemaNode);
  return options;
}
