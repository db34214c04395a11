import { checkDockerLimits, dockerLimitKeys, parseSize } from '@ns/cgroups';
import { rlimits } from '@ns/launch';
import { SpecError, UnavailableError } from '@ns/libc';
import { checkLandlockSpec } from '@ns/lsm';
import { syscallNames } from '@ns/seccomp';
import * as v from 'valibot';
import { checkInput } from './check-input.ts';
import { assertConsistent } from './contradictions.ts';
import {
  abortSignal,
  absolutePath,
  boolean,
  dictionary,
  integer,
  isPlainObject,
  milliseconds,
  object,
  oneOf,
  signalName,
  size,
  sizeOrMax,
  text,
} from './field-schemas.ts';
import type { MountSpec } from './mount-spec.ts';
import { networkFields } from './network/validate-network.ts';
import type { ContainerLimits, ContainerSpec, RunOptions } from './types.ts';
import { lifecycleFields } from './validate-lifecycle.ts';
import { mountsSchema } from './validate-mounts.ts';

/* One schema per field of ContainerSpec; messages say what would be accepted. */

const hostname = v.pipe(
  text('a host name'),
  v.check((value) => value.length > 0 && Buffer.byteLength(value) <= 64, 'a host name of 1 to 64 bytes'),
  // It becomes a word of /etc/hosts: a line break would be another entry.
  v.check((value) => !/[\s\p{Cc}/]/u.test(value), 'a host name without spaces, slashes and control characters'),
);
const containerReference = v.union(
  [text('an id or name'), v.looseObject({ id: text('an id') })],
  'a container, its id or its name',
);
const namespaceOfOther = [object({ container: containerReference }), object({ path: absolutePath })] as const;
const namespaceChoice = v.union(
  [oneOf(['private', 'host']), ...namespaceOfOther],
  "'private', 'host', { container } or { path }",
);
const access = "letters out of 'rwm'";
const offsetNs = v.pipe(v.number('nanoseconds'), v.safeInteger('whole nanoseconds below 2^53'));
const idRange = object({
  container: integer(0, 2 ** 32 - 2),
  host: integer(0, 2 ** 32 - 2),
  size: integer(1, 2 ** 32 - 1),
});
const rlimitValue = v.union(
  [integer(0, Number.MAX_SAFE_INTEGER), v.literal('unlimited', "'unlimited'"), v.literal(-1)],
  "a number, or 'unlimited' (or -1)",
);
const rlimit = v.union(
  [rlimitValue, object({ soft: rlimitValue, hard: rlimitValue })],
  "a number, 'unlimited' (or -1) or { soft, hard }",
);
const rlimitTable = object(Object.fromEntries(Object.keys(rlimits).map((name) => [name, v.optional(rlimit)])));
const writable = v.union(
  [
    oneOf(['tmpfs', 'none', 'direct']),
    object({ tmpfs: size, inodes: v.optional(integer(1, 2 ** 32 - 1)) }),
    object({ size, inodes: v.optional(integer(1, 2 ** 32 - 1)) }),
    object({ upper: absolutePath, work: absolutePath }),
    object({ dir: absolutePath }),
    object({ dir: absolutePath, size, inodes: v.optional(integer(1, 2 ** 32 - 1)) }),
  ],
  "'tmpfs', 'none', 'direct', { size, inodes }, { tmpfs: size }, { upper, work } or { dir, size, inodes }",
);
const pressureTrigger = object(
  {
    resource: oneOf(['cpu', 'memory', 'io']),
    kind: v.optional(oneOf(['some', 'full'])),
    stallMs: v.number('milliseconds'),
    windowMs: v.number('milliseconds'),
  },
  'a trigger { resource, stallMs, windowMs }',
);
const systemCall = v.pipe(
  text('a system call'),
  v.check(
    (name) => syscallNames(process.arch === 'arm64' ? 'aarch64' : 'x86_64').includes(name),
    'a system call of this machine',
  ),
);
const capabilityList = v.array(text('a capability name'), 'an array of capability names');
const environmentName = v.pipe(
  text('a variable name'),
  v.check((name) => name.length > 0 && !name.includes('='), 'a variable name without ='),
);

// Their values are checked by @ns/cgroups; these are for who looks for a key.
const limitEntries = Object.fromEntries(dockerLimitKeys.map((key) => [key, v.optional(v.unknown())]));

const fields = {
  command: v.pipe(
    v.array(text('a string'), "an array of strings such as ['ls', '-l']"),
    v.check((argv) => argv.length > 0 && argv[0] !== '', 'a program name and its arguments'),
  ),
  env: v.optional(dictionary(environmentName, text('a string'), 'an object of strings')),
  cwd: v.optional(absolutePath),
  user: v.optional(
    v.pipe(
      text("a user as text: a name, 'uid' or 'uid:gid'"),
      v.regex(/^[^:]+(:[^:]+)?$/, "'uid', 'uid:gid' or names"),
    ),
  ),
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
    v.pipe(
      text('a name'),
      v.regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/, 'a name of letters, digits, _ . -, at most 128'),
    ),
  ),
  labels: v.optional(dictionary(text('a label'), text('a string'), 'an object of strings')),
  rootfs: v.optional(
    v.union(
      [
        absolutePath,
        object({
          host: v.literal(true, 'true'),
          hide: v.optional(v.array(absolutePath, 'an array of paths')),
          show: v.optional(v.array(absolutePath, 'an array of paths')),
        }),
        object({ dir: absolutePath, readonly: v.optional(boolean) }),
        object({
          layers: v.pipe(v.array(absolutePath, 'an array of paths'), v.minLength(1, 'at least one layer')),
          writable: v.optional(writable),
        }),
        object({ image: v.custom<never>(refuseImage) }),
      ],
      'an absolute path, { host: true }, { dir } or { layers }',
    ),
  ),
  writable: v.optional(writable),
  namespaces: v.optional(
    object({
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
            ...namespaceOfOther,
            object({ monotonicNs: v.optional(offsetNs), boottimeNs: v.optional(offsetNs) }),
          ],
          "'private', 'host', { container }, { path } or { monotonicNs, boottimeNs }",
        ),
      ),
    }),
  ),
  idMap: v.optional(
    v.union(
      [
        v.literal('auto', "'auto'"),
        object({
          uids: v.pipe(v.array(idRange, 'an array of { container, host, size }'), v.minLength(1, 'at least one range')),
          gids: v.pipe(v.array(idRange, 'an array of { container, host, size }'), v.minLength(1, 'at least one range')),
        }),
      ],
      "'auto' or { uids, gids }",
    ),
  ),
  limits: v.optional(v.pipe(v.custom<ContainerLimits>(areLimits, 'an object of limits'), v.looseObject(limitEntries))),
  pressure: v.optional(v.array(pressureTrigger, 'an array of triggers { resource, stallMs, windowMs }')),
  rlimits: v.optional(rlimitTable),
  ulimits: v.optional(rlimitTable),
  sysctls: v.optional(
    dictionary(
      text('a parameter'),
      v.union([text('a string'), v.number('a number')], 'a string or a number'),
      'an object of strings or numbers',
    ),
  ),
  oomScoreAdj: v.optional(integer(-1000, 1000)),
  shmSize: v.optional(size),
  devices: v.optional(
    v.array(
      v.union(
        [
          absolutePath,
          object({
            path: absolutePath,
            target: v.optional(absolutePath),
            permissions: v.optional(v.pipe(text(access), v.regex(/^(?!.*(.).*\1)[rwm]{1,3}$/, access))),
          }),
        ],
        'a device path or { path, target, permissions }',
      ),
      'an array of devices',
    ),
  ),
  capabilities: v.optional(
    v.union(
      [capabilityList, object({ add: v.optional(capabilityList), drop: v.optional(capabilityList) })],
      'an array of capability names or { add, drop }',
    ),
  ),
  noNewPrivileges: v.optional(boolean),
  privileged: v.optional(boolean),
  seccomp: v.optional(
    v.custom<NonNullable<ContainerSpec['seccomp']>>(
      (value) =>
        isPlainObject(value) ||
        (typeof value === 'string' &&
          (['default', 'strict', 'unconfined'].includes(value) || (value.includes('/') && !value.includes('\0')))),
      "'default', 'strict', 'unconfined', a profile or the path of one",
    ),
  ),
  onSyscall: v.optional(dictionary(systemCall, v.function('a function'), 'an object of functions')),
  apparmor: v.optional(text('the name of a profile')),
  selinux: v.optional(object({ process: v.optional(text('a label')), mount: v.optional(text('a label')) })),
  landlock: v.optional(v.custom<NonNullable<ContainerSpec['landlock']>>(isLandlock, 'an object of rules')),
  maskedPaths: v.optional(v.array(absolutePath, 'an array of paths')),
  readonlyPaths: v.optional(v.array(absolutePath, 'an array of paths')),
  mounts: v.optional(mountsSchema),
  ...networkFields(namespaceOfOther),
  timeout: v.optional(milliseconds),
  maxOutput: v.optional(
    object({ bytes: v.optional(sizeOrMax), onExceed: v.optional(oneOf(['kill', 'drop-head', 'drop-tail'])) }),
  ),
  lifetime: v.optional(object({ dieWithParent: v.optional(boolean) })),
  stopSignal: v.optional(signalName),
};

const containerSchema = v.strictObject({ ...fields, ...lifecycleFields });
const runSchema = v.strictObject({
  ...fields,
  signal: v.optional(abortSignal),
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
  const checked = checkInput(containerSchema, spec) as ContainerSpec;
  assertConsistent(checked);
  return checked;
}

/** Checks one mount. Throws as {@link validateSpec}. */
export function validateMount(mount: MountSpec): MountSpec {
  return validateSpec({ command: ['none'], mounts: [mount] }).mounts![0]!;
}

/** Checks a command with options of `run`. Throws as {@link validateSpec}. */
export function validateRun(spec: unknown): RunOptions & ContainerSpec {
  for (const [field, value] of Object.entries(spec as object))
    if (value !== undefined && Object.hasOwn(lifecycleFields, field))
      throw new SpecError(field, 'nothing', value, 'run() is one command to its end: give it to Container.create()');
  const checked = checkInput(runSchema, spec) as RunOptions & ContainerSpec;
  assertConsistent(checked);
  return checked;
}

const { env, cwd, user, groups, stdin, timeout, maxOutput, umask, tty } = fields;
const { signal, check, encoding, buffer } = runSchema.entries;

/** What is said of a command that runs in a container that is there. */
export const execFields = {
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
};
const execSchema = v.strictObject(execFields);

/** Checks a command with options of `exec`. Throws as {@link validateSpec}. */
export function validateExec<Options extends object>(command: readonly string[], options: Options): Options {
  return checkInput(execSchema, { ...options, command }) as Options;
}

/** Also of limits the message is about the field that is wrong. */
function areLimits(value: unknown): boolean {
  if (!isPlainObject(value)) return false;
  const { missing, ...limits } = value as ContainerLimits;
  if (missing !== undefined && missing !== 'error' && missing !== 'warn')
    throw new SpecError('limits.missing', "'error' or 'warn'", missing);
  checkDockerLimits(limits, 'limits');
  const { memory } = limits;
  if (memory !== undefined && parseSize(memory, 'limits.memory') < leastMemoryBytes)
    throw new SpecError('limits.memory', 'at least 1 MiB', memory, smallMemoryHint);
  return true;
}

/** With less no program starts: it is the unit that was forgotten. (Docker wants 6 MiB, for the runtime that is charged too.) */
const leastMemoryBytes = 2 ** 20;
const smallMemoryHint = "A number counts bytes: give a unit, such as '512MiB', or leave it out for no limit";

function refuseImage(): never {
  throw new UnavailableError(
    'rootfs.image',
    'no images are pulled or read',
    "Unpack each layer with applyLayer() of @ns/overlayfs, whiteouts: 'overlay', and give the directories as { layers }, the last one first",
  );
}

function isLandlock(value: unknown): boolean {
  if (!isPlainObject(value)) return false;
  const { enforce, ...rules } = value as NonNullable<ContainerSpec['landlock']>;
  if (enforce !== undefined && !v.is(landlockEnforcement, enforce))
    throw new SpecError('landlock.enforce', landlockEnforcement.message, enforce);
  checkLandlockSpec(rules, 'landlock');
  return true;
}

const landlockEnforcement = v.picklist(['named', 'all', 'best-effort'], "one of 'named', 'all', 'best-effort'");
