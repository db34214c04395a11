import { nearest, SpecError } from '@ns/libc';
import * as v from 'valibot';
import { checkInput } from './check-input.ts';
import { containerEventTypes } from './container-event.ts';
import { abortSignal, boolean, dictionary, integer, isPlainObject, oneOf, signalName, text } from './field-schemas.ts';
import { mountsSchema } from './validate-mounts.ts';

/* What the calls on a container accept besides a specification. */

/** None is a time, too: who asks whether something is so. */
const patienceMs = integer(0, 2 ** 31 - 1);
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

const patienceEntries = { signal: v.optional(abortSignal), timeout: v.optional(patienceMs) };
const stopEntries = { timeout: v.optional(patienceMs), signal: v.optional(signalName) };

/** A prefix of an id, or a name; both have an end. */
const reference = v.pipe(text('an id or a name'), v.maxLength(128, 'an id or a name of at most 128 characters'));

const id = integer(0, 2 ** 32 - 2);
const ownership = v.union(
  [oneOf(['keep', 'ignore']), v.strictObject({ uid: id, gid: id })],
  "'keep', 'ignore' or { uid, gid }",
);
const privileges = oneOf(['keep', 'drop']);
const callback = v.function('a function');
const anObject = v.custom<object>(isPlainObject, 'an object');

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
  volumes: v.strictObject({
    labels: v.optional(dictionary(text('a label'), text('a string'), 'an object of strings')),
  }),
  reference: v.strictObject({ idOrName: reference }),
  network: v.strictObject({ name: reference }),
  member: v.strictObject({
    container: v.union([reference, v.looseObject({ id: reference })], 'a container, its id or its name'),
  }),
  signal: v.strictObject({ signal: signalName }),
  kill: v.strictObject({ all: v.optional(boolean), ...patienceEntries }),
  stop: v.strictObject(stopEntries),
  restart: v.strictObject(stopEntries),
  remove: v.strictObject({ force: v.optional(boolean), ...patienceEntries }),
  rename: v.strictObject({ name: text('a name') }),
  stats: v.strictObject({ interval: v.optional(integer(1, 2 ** 31 - 1)), ...patienceEntries }),
  logs: v.strictObject({
    follow: v.optional(boolean),
    tail: v.optional(integer(0, Number.MAX_SAFE_INTEGER)),
    since: v.optional(moment),
    ...patienceEntries,
  }),
  resize: v.strictObject({ columns: integer(1, 65_535), rows: integer(1, 65_535) }),
  update: v.strictObject({
    mounts: v.optional(
      v.strictObject({
        add: v.optional(mountsSchema),
        remove: v.optional(v.array(v.string('a path'), 'an array of paths')),
      }),
    ),
    limits: v.optional(anObject),
    egress: v.optional(anObject),
    bandwidth: v.optional(anObject),
  }),
  updateOptions: v.strictObject({ dryRun: v.optional(boolean), ...patienceEntries }),
  fork: v.strictObject({ count: integer(1, 10_000), spec: anObject }),
  apply: v.strictObject({
    target: path,
    select: v.optional(callback),
    ownership: v.optional(ownership),
    privileges: v.optional(privileges),
    mapOwner: v.optional(callback),
    whiteouts: v.optional(oneOf(['overlay', 'oci'])),
  }),
  commit: v.strictObject({ store: path }),
  unmount: v.strictObject({ target: absolutePath }),
  copy: v.strictObject({ from: path, to: path, ownership: v.optional(ownership), privileges: v.optional(privileges) }),
  export: v.strictObject({ mapOwner: v.optional(callback), exclude: v.optional(callback) }),
} as const;

/**
 * Checks the options of a call.
 *
 * @throws SpecError naming the option; for an unknown key also the nearest one that exists
 */
export function checkCall<Options extends object>(call: keyof typeof calls, options: Options): Options {
  if (!isPlainObject(options)) throw new SpecError('options', 'an object', options);
  checkInput(calls[call], options);
  return options;
}

/**
 * Checks who is to listen to what: an event that does not exist is never heard.
 *
 * @throws SpecError naming the nearest event
 */
export function checkListener(type: unknown, listener: unknown): void {
  if (typeof type !== 'string' || !containerEventTypes.includes(type)) {
    const meant = typeof type === 'string' && nearest(type, containerEventTypes);
    throw new SpecError(
      'event',
      `one of ${containerEventTypes.join(', ')}`,
      type,
      meant ? `Did you mean '${meant}'?` : undefined,
    );
  }
  if (typeof listener !== 'function') throw new SpecError('listener', 'a function', listener);
}
