import { parseSize } from '@ns/cgroups';
import { rlimits, SIGNALS } from '@ns/launch';
import { SpecError } from '@ns/libc';
import * as v from 'valibot';
import type { MountSpec } from './mount-spec.ts';
import { networkFields } from './network/validate-network.ts';
import { type SchemaNode, type SpecIssue, toSpecError } from './spec-issue.ts';
import type { ContainerSpec, RunOptions } from './types.ts';
import { lifecycleFields } from './validate-lifecycle.ts';
import { mountSchema } from './validate-mounts.ts';

/* One schema per field of ContainerSpec; messages say what would be accepted. */

const text = (expected: string) =>
  v.pipe(
    v.string(expected),
    v.check((value) => !value.includes('\0'), `${expected} without NUL bytes`),
  );
const absolutePath = v.pipe(
  text('an absolute path'),
  v.check((value) => value.startsWith('/'), 'an absolute path'),
  v.check((value) => !value.split('/').includes('..'), "a path without '..'"),
);
const size = v.custom<number | string>((value) => {
  parseSize(value, 'size');
  return true;
}, "a number of bytes or a size such as '256MiB'");
const integer = (min: number, max: number) => {
  const expected = `an integer from ${min} to ${max}`;
  return v.pipe(v.number(expected), v.integer(expected), v.minValue(min, expected), v.maxValue(max, expected));
};
const boolean = v.boolean('true or false');
const oneOf = <const T extends readonly string[]>(values: T) =>
  v.picklist(values, `one of ${values.map((value) => `'${value}'`).join(', ')}`);
const hostname = v.pipe(
  text('a host name'),
  v.check((value) => value.length > 0 && Buffer.byteLength(value) <= 64, 'a host name of 1 to 64 bytes'),
);
const containerReference = v.union(
  [text('an id or name'), v.looseObject({ id: text('an id') })],
  'a container, its id or its name',
);
const namespaceOfOther = [
  v.strictObject({ container: containerReference }),
  v.strictObject({ path: absolutePath }),
] as const;
const namespaceChoice = v.union(
  [oneOf(['private', 'host']), ...namespaceOfOther],
  "'private', 'host', { container } or { path }",
);
const idRange = v.strictObject({
  container: integer(0, 2 ** 32 - 2),
  host: integer(0, 2 ** 32 - 2),
  size: integer(1, 2 ** 32 - 1),
});
const rlimitValue = v.union([integer(0, Number.MAX_SAFE_INTEGER), v.literal('unlimited')], "a number or 'unlimited'");
const rlimit = v.union(
  [rlimitValue, v.strictObject({ soft: rlimitValue, hard: rlimitValue })],
  "a number, 'unlimited' or { soft, hard }",
);
const rlimitTable = v.strictObject(Object.fromEntries(Object.keys(rlimits).map((name) => [name, v.optional(rlimit)])));
const writable = v.union(
  [
    oneOf(['tmpfs', 'none', 'direct']),
    v.strictObject({ tmpfs: size, inodes: v.optional(integer(1, 2 ** 32 - 1)) }),
    v.strictObject({ size, inodes: v.optional(integer(1, 2 ** 32 - 1)) }),
    v.strictObject({ upper: absolutePath, work: absolutePath }),
    v.strictObject({ dir: absolutePath }),
    v.strictObject({ dir: absolutePath, size, inodes: v.optional(integer(1, 2 ** 32 - 1)) }),
  ],
  "'tmpfs', 'none', 'direct', { size, inodes }, { tmpfs: size }, { upper, work } or { dir, size, inodes }",
);
const capabilityList = v.array(text('a capability name'), 'an array of capability names');
const environmentName = v.pipe(
  text('a variable name'),
  v.check((name) => name.length > 0 && !name.includes('='), 'a variable name without ='),
);

const fields = {
  command: v.pipe(
    v.array(text('a string'), 'an array of strings'),
    v.check((argv) => argv.length > 0 && argv[0] !== '', 'a program name and its arguments'),
  ),
  env: v.optional(v.record(environmentName, text('a string'), 'an object of strings')),
  cwd: v.optional(absolutePath),
  user: v.optional(v.pipe(text('a user'), v.regex(/^[^:]+(:[^:]+)?$/, "'uid', 'uid:gid' or names"))),
  groups: v.optional(
    v.array(v.union([integer(0, 2 ** 32 - 2), text('a group name')], 'a gid or a group name'), 'an array of groups'),
  ),
  hostname: v.optional(hostname),
  domainname: v.optional(hostname),
  umask: v.optional(integer(0, 0o777)),
  stdin: v.optional(
    v.custom<NonNullable<ContainerSpec['stdin']>>(
      (value) =>
        typeof value === 'string' ||
        Buffer.isBuffer(value) ||
        typeof (value as { pipe?: unknown } | null)?.pipe === 'function',
      "'null', 'pipe', text, a Buffer or a Readable",
    ),
  ),
  tty: v.optional(boolean),
  init: v.optional(boolean),
  name: v.optional(
    v.pipe(text('a name'), v.regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/, 'a name of letters, digits, _ . -')),
  ),
  labels: v.optional(v.record(text('a label'), text('a string'), 'an object of strings')),
  rootfs: v.optional(
    v.union(
      [
        absolutePath,
        v.strictObject({
          host: v.literal(true),
          hide: v.optional(v.array(absolutePath)),
          show: v.optional(v.array(absolutePath)),
        }),
        v.strictObject({ dir: absolutePath, readonly: v.optional(boolean) }),
        v.strictObject({
          layers: v.pipe(v.array(absolutePath), v.minLength(1, 'at least one layer')),
          writable: v.optional(writable),
        }),
      ],
      'an absolute path, { host: true }, { dir } or { layers }',
    ),
  ),
  writable: v.optional(writable),
  namespaces: v.optional(
    v.strictObject({
      pid: v.optional(namespaceChoice),
      net: v.optional(namespaceChoice),
      mount: v.optional(namespaceChoice),
      uts: v.optional(namespaceChoice),
      ipc: v.optional(namespaceChoice),
      user: v.optional(namespaceChoice),
      cgroup: v.optional(namespaceChoice),
      time: v.optional(
        v.union(
          [
            oneOf(['private', 'host']),
            v.strictObject({ monotonicNs: v.optional(v.number()), boottimeNs: v.optional(v.number()) }),
          ],
          "'private', 'host' or { monotonicNs, boottimeNs }",
        ),
      ),
    }),
  ),
  idMap: v.optional(
    v.union(
      [
        v.literal('auto'),
        v.strictObject({
          uids: v.pipe(v.array(idRange), v.minLength(1, 'at least one range')),
          gids: v.pipe(v.array(idRange), v.minLength(1, 'at least one range')),
        }),
      ],
      "'auto' or { uids, gids }",
    ),
  ),
  limits: v.optional(v.custom<object>((value) => typeof value === 'object' && value !== null, 'an object of limits')),
  pressure: v.optional(v.array(v.looseObject({}), 'an array of triggers { resource, stallMs, windowMs }')),
  rlimits: v.optional(rlimitTable),
  ulimits: v.optional(rlimitTable),
  sysctls: v.optional(
    v.record(
      text('a parameter'),
      v.union([text('a string'), v.number()], 'a string or a number'),
      'an object of strings',
    ),
  ),
  oomScoreAdj: v.optional(integer(-1000, 1000)),
  shmSize: v.optional(size),
  devices: v.optional(
    v.array(
      v.union(
        [
          absolutePath,
          v.strictObject({
            path: absolutePath,
            target: v.optional(absolutePath),
            permissions: v.optional(text('rwm')),
          }),
        ],
        'a device path or { path, target, permissions }',
      ),
    ),
  ),
  capabilities: v.optional(
    v.union(
      [capabilityList, v.strictObject({ add: v.optional(capabilityList), drop: v.optional(capabilityList) })],
      'an array of capability names or { add, drop }',
    ),
  ),
  noNewPrivileges: v.optional(boolean),
  privileged: v.optional(boolean),
  seccomp: v.optional(
    v.custom<NonNullable<ContainerSpec['seccomp']>>(
      (value) =>
        typeof value === 'object' ||
        ['default', 'strict', 'unconfined'].includes(value as string) ||
        String(value).includes('/'),
      "'default', 'strict', 'unconfined', a profile or the path of one",
    ),
  ),
  onSyscall: v.optional(v.record(text('a system call'), v.function('a function'), 'an object of functions')),
  apparmor: v.optional(text('the name of a profile')),
  selinux: v.optional(v.strictObject({ process: v.optional(text('a label')), mount: v.optional(text('a label')) })),
  landlock: v.optional(v.looseObject({})),
  maskedPaths: v.optional(v.array(absolutePath, 'an array of paths')),
  readonlyPaths: v.optional(v.array(absolutePath, 'an array of paths')),
  mounts: v.optional(v.array(mountSchema, 'an array of mounts')),
  ...networkFields(namespaceOfOther),
  timeout: v.optional(
    v.pipe(
      v.number('milliseconds'),
      v.minValue(1, 'milliseconds from 1'),
      v.maxValue(2 ** 31 - 1, 'milliseconds below 2^31'),
    ),
  ),
  maxOutput: v.optional(
    v.strictObject({ bytes: size, onExceed: v.optional(oneOf(['kill', 'drop-head', 'drop-tail'])) }),
  ),
  lifetime: v.optional(v.strictObject({ dieWithParent: v.optional(boolean) })),
  stopSignal: v.optional(
    v.custom<NodeJS.Signals>(
      (value) => typeof value === 'string' && value in SIGNALS,
      "a signal name such as 'SIGTERM'",
    ),
  ),
};

const containerSchema = v.strictObject({ ...fields, ...lifecycleFields });
const runSchema = v.strictObject({
  ...fields,
  signal: v.optional(v.instance(AbortSignal, 'an AbortSignal')),
  check: v.optional(boolean),
  encoding: v.optional(oneOf(['utf8', 'buffer'])),
  buffer: v.optional(boolean),
});

/**
 * Checks a specification.
 *
 * @throws SpecError naming the field; for an unknown key also the nearest one that exists
 */
export function validateSpec(spec: unknown): ContainerSpec {
  return checked(containerSchema, spec) as ContainerSpec;
}

/** Checks one mount. Throws as {@link validateSpec}. */
export function validateMount(mount: MountSpec): MountSpec {
  return validateSpec({ command: ['none'], mounts: [mount] }).mounts![0]!;
}

/** Checks a command with options of `run`. Throws as {@link validateSpec}. */
export function validateRun(spec: unknown): RunOptions & ContainerSpec {
  return checked(runSchema, spec) as RunOptions & ContainerSpec;
}

const { env, cwd, user, groups, stdin, timeout, maxOutput, umask, tty } = fields;
const { signal, check, encoding, buffer } = runSchema.entries;
const execSchema = v.strictObject({
  command: fields.command,
  env,
  cwd,
  user,
  groups,
  stdin,
  timeout,
  maxOutput,
  umask,
  tty,
  signal,
  check,
  encoding,
  buffer,
});

/** Checks a command with options of `exec`. Throws as {@link validateSpec}. */
export function validateExec<Options extends object>(command: readonly string[], options: Options): Options {
  return checked(execSchema, { ...options, command }) as Options;
}

const { user: _user, groups: _groups, umask: _umask, tty: _tty, ...pooledFields } = execSchema.entries;
const pooledSchema = v.strictObject(pooledFields);

/** Checks a command for a sandbox of a pool. Throws as {@link validateSpec}. */
export function validatePooled<Options extends object>(command: readonly string[], options: Options): Options {
  return checked(pooledSchema, { ...options, command }) as Options;
}

const poolSchema = v.strictObject({
  size: v.optional(integer(1, 10_000)),
  template: v.optional(v.looseObject({}, 'an object')),
  reset: v.optional(v.literal('discard', "'discard'")),
  maxWaiting: v.optional(integer(0, Number.MAX_SAFE_INTEGER)),
});

/** What a pooled command says itself, what belongs to containers that live on, and what needs a process of its own. */
const notInTemplates: Readonly<Record<string, string>> = {
  command: 'Give it to run()',
  stdin: 'Give it to run()',
  timeout: 'Give it to run()',
  maxOutput: 'Give it to run()',
  name: 'Each sandbox has an id',
  tty: 'Use a container',
  restart: 'A sandbox runs one command, once',
  health: 'A sandbox runs one command, once',
  wait: 'A sandbox runs one command, once',
};

/** Checks options of a pool; of the template the specification made from it is checked. Throws as {@link validateSpec}. */
export function validatePoolOptions<Options extends object>(options: Options): Options {
  const valid = checked(poolSchema, options) as Options & { readonly template?: Readonly<Record<string, unknown>> };
  for (const [field, hint] of Object.entries(notInTemplates)) {
    const received = valid.template?.[field];
    if (received !== undefined) throw new SpecError(`template.${field}`, 'nothing', received, hint);
  }
  if (valid.template?.network === 'user') {
    throw new SpecError(
      'template.network',
      'a network that needs no process of its own',
      'user',
      'Give a bridge network, or run without a pool',
    );
  }
  return valid;
}

const acquireSchema = v.strictObject({
  signal: v.optional(v.instance(AbortSignal, 'an AbortSignal')),
  timeout: v.optional(integer(0, 2 ** 31 - 1)),
});

/** Checks what is said about waiting. Throws as {@link validateSpec}. */
export function validateWaiting<Options extends object>(options: Options): Options {
  return checked(acquireSchema, options) as Options;
}

type Schema =
  | typeof acquireSchema
  | typeof poolSchema
  | typeof pooledSchema
  | typeof containerSchema
  | typeof runSchema
  | typeof execSchema;

function checked(schema: Schema, input: unknown): unknown {
  const result = v.safeParse(schema, withoutUndefined(input), { abortEarly: true });
  if (result.success) return result.output;
  throw toSpecError(result.issues[0] as SpecIssue, schema as SchemaNode);
}

/** An option given as `undefined` is an option not given. */
function withoutUndefined(input: unknown): unknown {
  if (typeof input !== 'object' || input === null) return input;
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
}
