import { type Decision, decisionOf, SECCOMP_RET } from './actions.ts';
import { abiOf, architectures, type SeccompArch } from './architectures.ts';
import { type CompileOptions, resolveProfile } from './compile.ts';
import { type SimulatedCall, toSeccompData } from './filter.ts';
import type { ProfileRule, SeccompProfile } from './profile.ts';
import { checkOptions } from './resolve-target.ts';
import { type ConditionalRule, isNewer, type RuleTable } from './rule-table.ts';
import type { ArgumentCheck } from './validate-profile.ts';

/** Why a profile treats a call as it does. */
export interface Explanation {
  /** What becomes of the call. */
  readonly decision: Decision;
  /** The ABI of the call; `undefined` for one that the profile does not name. */
  readonly arch: SeccompArch | undefined;
  /** Its number there; x32's with bit 30. */
  readonly nr: number;
  /** Why. */
  readonly reason:
    | 'rule' /* a rule of the profile matched */
    | 'default' /* no rule matched */
    | 'newer-syscall' /* above the highest number the profile names */
    | 'unknown-architecture' /* an ABI the profile does not name */;
  /** The deciding rule, when `reason` is `'rule'`. */
  readonly rule?: ProfileRule;
  /** Its position in `syscalls`, from 0. */
  readonly index?: number;
  /** Rules for this call whose conditions did not hold, or which another rule overrides. */
  readonly passedOver: readonly number[];
  /** Rules for this call that do not count here because of `includes` or `excludes`: what more capabilities or another kernel would change. */
  readonly inactive: readonly number[];
}

/**
 * Which rule of a profile decides about a call, and why the others do not: "why was this denied?".
 *
 * @param call - a name, or a call with arguments
 * @throws SpecError as {@link compile} does
 *
 * @example
 * ```ts
 * explain(profiles.default, 'mount').inactive; // [14]: the rule that includes CAP_SYS_ADMIN
 * ```
 */
export function explain(
  profile: SeccompProfile,
  call: string | SimulatedCall,
  options: CompileOptions = {},
): Explanation {
  checkOptions(options);
  const described = typeof call === 'string' ? { syscall: call } : call;
  const { valid, target, tables, newerResult } = resolveProfile(profile, options);
  const { nr, arch: audit, args } = toSeccompData(described, target.arch);
  const abi = abiOf(audit, nr);
  const table = tables.find(({ arch }) => arch === abi);
  const name = typeof described.syscall === 'string' ? described.syscall : undefined;
  const mentioned = valid.rules
    .filter(({ names }) => name !== undefined && names.includes(name))
    .map(({ index }) => index);

  const decided = decide(table, nr, args, valid.defaultResult, newerResult);
  const considered = table ? rulesOf(table, nr).map(({ index }) => index) : [];
  return {
    decision: decisionOf(decided.result),
    arch: table?.arch,
    nr,
    reason: decided.reason,
    ...(decided.rule ? { rule: profile.syscalls![decided.rule.index]!, index: decided.rule.index } : {}),
    passedOver: unique(considered.filter((index) => index !== decided.rule?.index)),
    inactive: unique(mentioned.filter((index) => index !== decided.rule?.index && !considered.includes(index))),
  };
}

interface Verdict {
  readonly result: number;
  readonly reason: Explanation['reason'];
  readonly rule?: ConditionalRule;
}

function decide(
  table: RuleTable | undefined,
  nr: number,
  args: readonly bigint[],
  defaultResult: number,
  newerResult: number | undefined,
): Verdict {
  if (!table) return { result: SECCOMP_RET.KILL_PROCESS, reason: 'unknown-architecture' };
  if (newerResult !== undefined && isNewer(table, nr)) return { result: newerResult, reason: 'newer-syscall' };
  const bits = architectures[table.arch].bits;
  const rule = rulesOf(table, nr).find(({ checks }) =>
    checks.every((check) => holds(check, args[check.arg] ?? 0n, bits)),
  );
  return rule ? { result: rule.result, reason: 'rule', rule } : { result: defaultResult, reason: 'default' };
}

function rulesOf(table: RuleTable, nr: number): readonly ConditionalRule[] {
  const rules = table.bySyscall.get(nr);
  return rules ? (rules.always ? [rules.always] : rules.tried) : [];
}

function holds({ op, value, mask }: ArgumentCheck, argument: bigint, bits: 32 | 64): boolean {
  const seen = BigInt.asUintN(bits, argument);
  switch (op) {
    case 'SCMP_CMP_EQ':
      return seen === value;
    case 'SCMP_CMP_NE':
      return seen !== value;
    case 'SCMP_CMP_LT':
      return seen < value;
    case 'SCMP_CMP_LE':
      return seen <= value;
    case 'SCMP_CMP_GE':
      return seen >= value;
    case 'SCMP_CMP_GT':
      return seen > value;
    case 'SCMP_CMP_MASKED_EQ':
      return (seen & mask) === value;
  }
}

function unique(values: readonly number[]): number[] {
  return [...new Set(values)];
}
