import { errnoNumber, SpecError } from '@ns/libc';
import { actionValue, SECCOMP_RET } from './actions.ts';
import { parseArch, type SeccompArch } from './architectures.ts';
import { didYouMean, refuseMisspelt } from './did-you-mean.ts';
import type { ProfileCondition, ProfileRule, ScmpOperator, SeccompProfile } from './profile.ts';

/** A condition on an argument: `op` against `value`, after `mask` for MASKED_EQ. */
export interface ArgumentCheck {
  readonly arg: number;
  readonly op: ScmpOperator;
  readonly value: bigint;
  readonly mask: bigint;
}

/** An entry of `syscalls`, checked. */
export interface ValidRule {
  /** Position in the profile's `syscalls`. */
  readonly index: number;
  readonly names: readonly string[];
  /** The filter's return value. */
  readonly result: number;
  readonly checks: readonly ArgumentCheck[];
  readonly includes: ProfileCondition;
  readonly excludes: ProfileCondition;
}

/** A profile whose every field is of the right kind. */
export interface ValidProfile {
  readonly defaultResult: number;
  readonly architectures: readonly SeccompArch[];
  readonly archMap: ReadonlyMap<SeccompArch, readonly SeccompArch[]> | undefined;
  /** Bits for seccomp(2). */
  readonly flags: number;
  readonly rules: readonly ValidRule[];
}

/** Bits of seccomp(2)'s `flags`, `<linux/seccomp.h>`. */
export const SECCOMP_FILTER_FLAG = {
  TSYNC: 1,
  LOG: 2, // since 4.14
  SPEC_ALLOW: 4, // since 4.17
  NEW_LISTENER: 8, // since 5.0
  TSYNC_ESRCH: 16, // since 5.7
  WAIT_KILLABLE_RECV: 32, // since 5.19
} as const;

const PROFILE_FLAGS = new Map<unknown, number>([
  ['SECCOMP_FILTER_FLAG_TSYNC', SECCOMP_FILTER_FLAG.TSYNC],
  ['SECCOMP_FILTER_FLAG_LOG', SECCOMP_FILTER_FLAG.LOG],
  ['SECCOMP_FILTER_FLAG_SPEC_ALLOW', SECCOMP_FILTER_FLAG.SPEC_ALLOW],
  ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV', SECCOMP_FILTER_FLAG.WAIT_KILLABLE_RECV],
]);

const OPERATORS: ReadonlySet<string> = new Set<ScmpOperator>([
  'SCMP_CMP_NE',
  'SCMP_CMP_LT',
  'SCMP_CMP_LE',
  'SCMP_CMP_EQ',
  'SCMP_CMP_GE',
  'SCMP_CMP_GT',
  'SCMP_CMP_MASKED_EQ',
]);

const PROFILE_KEYS = [
  'defaultAction',
  'defaultErrnoRet',
  'defaultErrno',
  'architectures',
  'archMap',
  'flags',
  'listenerPath',
  'listenerMetadata',
  'syscalls',
] satisfies (keyof SeccompProfile)[];
const RULE_KEYS = [
  'names',
  'name',
  'action',
  'errnoRet',
  'errno',
  'args',
  'includes',
  'excludes',
] satisfies (keyof ProfileRule)[];

// Docker's profile has 36 rules and 450 names. More than these cannot fit into 4096 instructions in any useful way,
// and a hostile profile must not cost seconds.
const MAX_RULES = 4096;
const MAX_NAMES = 65536;
const MAX_ARGUMENTS = 64;
const U64 = (1n << 64n) - 1n;

/** Checks a profile that may come from anywhere. */
export function validateProfile(profile: unknown): ValidProfile {
  if (typeof profile === 'string') {
    throw new SpecError('seccomp', 'an object', profile, 'Read the text of a profile with parseProfile first');
  }
  const top = record(profile, 'seccomp');
  refuseMisspelt(top, PROFILE_KEYS, 'seccomp');
  const defaultErrno = errnoOf(top.defaultErrno, top.defaultErrnoRet, 'seccomp.defaultErrno');
  const defaultResult = actionValue(
    top.defaultAction,
    defaultErrno,
    'seccomp.defaultAction',
    'seccomp.defaultErrnoRet',
  );
  if (defaultResult === SECCOMP_RET.USER_NOTIF) {
    throw new SpecError(
      'seccomp.defaultAction',
      'an action other than SCMP_ACT_NOTIFY',
      top.defaultAction,
      'The process would stop before it can hand over the listener: name the calls to be notified of (withNotify)',
    );
  }
  const architectures = list(top.architectures, 'seccomp.architectures').map((name, index) =>
    parseArch(name, `seccomp.architectures[${index}]`),
  );
  const archMap = validateArchMap(top.archMap);
  if (archMap && architectures.length > 0) {
    throw new SpecError('seccomp.archMap', 'either architectures or archMap', 'both');
  }
  const flags = list(top.flags, 'seccomp.flags').reduce<number>((bits, flag, index) => {
    const bit = PROFILE_FLAGS.get(flag);
    if (bit === undefined)
      throw new SpecError(`seccomp.flags[${index}]`, `one of ${[...PROFILE_FLAGS.keys()].join(', ')}`, flag);
    return bits | bit;
  }, 0);
  const entries = list(top.syscalls, 'seccomp.syscalls', MAX_RULES);
  const rules = entries.flatMap((entry, index) => validateRule(entry, index));
  if (rules.reduce((count, { names }) => count + names.length, 0) > MAX_NAMES) {
    throw new SpecError('seccomp.syscalls', `at most ${MAX_NAMES} names in all`, entries);
  }
  return { defaultResult, architectures, archMap, flags, rules };
}

function validateArchMap(value: unknown): ValidProfile['archMap'] {
  const entries = list(value, 'seccomp.archMap');
  if (entries.length === 0) return undefined;
  return new Map(
    entries.map((entry, index) => {
      const field = `seccomp.archMap[${index}]`;
      const { architecture, subArchitectures } = record(entry, field);
      const subs = list(subArchitectures, `${field}.subArchitectures`);
      return [
        parseArch(architecture, `${field}.architecture`),
        subs.map((name, position) => parseArch(name, `${field}.subArchitectures[${position}]`)),
      ];
    }),
  );
}

function validateRule(value: unknown, index: number): ValidRule[] {
  const field = `seccomp.syscalls[${index}]`;
  const entry = record(value, field);
  refuseMisspelt(entry, RULE_KEYS, field);
  const listed = list(entry.names, `${field}.names`, MAX_NAMES);
  const names = entry.name === undefined || entry.name === '' ? listed : [...listed, entry.name];
  const wrong = names.findIndex((name) => typeof name !== 'string' || name === '');
  if (wrong >= 0) throw new SpecError(`${field}.names[${wrong}]`, 'the name of a system call', names[wrong]);
  if (names.length === 0) throw new SpecError(`${field}.names`, 'at least one name', entry.names);
  const checks = list(entry.args, `${field}.args`, MAX_ARGUMENTS).map((arg, position) =>
    validateCheck(arg, `${field}.args[${position}]`),
  );
  const rule = {
    index,
    names: names as string[],
    result: actionValue(
      entry.action,
      errnoOf(entry.errno, entry.errnoRet, `${field}.errno`),
      `${field}.action`,
      `${field}.errnoRet`,
    ),
    includes: validateCondition(entry.includes, `${field}.includes`),
    excludes: validateCondition(entry.excludes, `${field}.excludes`),
  };
  // runc and libseccomp: a rule holds one condition per argument; several on the same one mean one rule for each.
  const repeated = new Set(checks.map(({ arg }) => arg)).size < checks.length;
  return repeated ? checks.map((check) => ({ ...rule, checks: [check] })) : [{ ...rule, checks }];
}

/** Podman's profiles name the errno besides giving its number. */
function errnoOf(name: unknown, number: unknown, field: string): unknown {
  if (name === undefined || name === null || name === '') return number;
  const errno = typeof name === 'string' ? errnoNumber(name) : undefined;
  if (errno === undefined) throw new SpecError(field, 'an errno such as "EPERM"', name);
  return errno;
}

function validateCheck(value: unknown, field: string): ArgumentCheck {
  const { index, op, value: first, valueTwo } = record(value, field);
  if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index > 5) {
    throw new SpecError(`${field}.index`, 'an argument from 0 to 5', index);
  }
  if (typeof op !== 'string' || !OPERATORS.has(op)) {
    const hint = didYouMean(op, 'SCMP_CMP_', OPERATORS);
    throw new SpecError(`${field}.op`, `one of ${[...OPERATORS].join(', ')}`, op, hint);
  }
  const operand = unsigned64(first, `${field}.value`);
  const second = valueTwo === undefined || valueTwo === null ? 0n : unsigned64(valueTwo, `${field}.valueTwo`);
  return op === 'SCMP_CMP_MASKED_EQ'
    ? { arg: index, op, mask: operand, value: second & operand }
    : { arg: index, op: op as ScmpOperator, mask: U64, value: operand };
}

function validateCondition(value: unknown, field: string): ProfileCondition {
  if (value === undefined || value === null) return {};
  const { caps, arches, minKernel } = record(value, field);
  if (
    minKernel !== undefined &&
    minKernel !== null &&
    minKernel !== '' &&
    (typeof minKernel === 'object' || !/^\d{1,4}(\.\d{1,4}){1,2}$/.test(String(minKernel)))
  ) {
    throw new SpecError(`${field}.minKernel`, 'a kernel version such as "4.8"', minKernel);
  }
  return {
    caps: strings(caps, `${field}.caps`),
    arches: strings(arches, `${field}.arches`),
    ...(minKernel ? { minKernel: String(minKernel) } : {}),
  };
}

function unsigned64(value: unknown, field: string): bigint {
  const expected = 'a whole number from 0 to 2^64-1';
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new SpecError(
        field,
        expected,
        value,
        value > 2 ** 53
          ? 'JSON.parse rounds numbers this large: read the profile with parseProfile, or write a bigint'
          : undefined,
      );
    }
    return BigInt(value);
  }
  if (typeof value === 'string' && !/^(\d{1,20}|0x[0-9a-fA-F]{1,16})$/.test(value))
    throw new SpecError(field, expected, value);
  if (typeof value !== 'bigint' && typeof value !== 'string') throw new SpecError(field, expected, value);
  const exact = BigInt(value);
  if (exact < 0n || exact > U64) throw new SpecError(field, expected, value);
  return exact;
}

function record(value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new SpecError(field, 'an object', value);
  return value as Record<string, unknown>;
}

function list(value: unknown, field: string, most = 4096): unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > most) throw new SpecError(field, `a list of at most ${most}`, value);
  return value;
}

function strings(value: unknown, field: string): string[] {
  return list(value, field).map((item, index) => {
    if (typeof item !== 'string') throw new SpecError(`${field}[${index}]`, 'text', item);
    return item;
  });
}
