import { architectures, type SeccompArch } from './architectures.ts';
import { multiplexed, syscallTable } from './syscall-table.ts';
import type { ArgumentCheck, ValidRule } from './validate-profile.ts';

/** What decides when its checks hold. */
export interface ConditionalRule {
  readonly result: number;
  readonly checks: readonly ArgumentCheck[];
  /** Position in the profile's `syscalls`. */
  readonly index: number;
}

/** The rules of one system call: one that always decides, or some tried in order. */
export type SyscallRules =
  | { readonly always: ConditionalRule }
  | { readonly always?: undefined; readonly tried: readonly ConditionalRule[] };

/** Everything a profile says about one ABI. */
export interface RuleTable {
  readonly arch: SeccompArch;
  readonly bySyscall: ReadonlyMap<number, SyscallRules>;
  /** The largest number the profile names, a multiplexer of what it names included, whatever it says about it; -1 for none. */
  readonly highest: number;
  /** Names that are no system call of this ABI. */
  readonly unknown: readonly string[];
}

/**
 * Resolves the names of rules to an ABI's numbers and settles which rule counts, as libseccomp does:
 * - a rule whose action is the default one is left out, so that it never takes anything from another;
 * - a rule without conditions, or with ones that always hold, decides alone, the first of several;
 * - of rules with conditions each that holds decides.
 *
 * Where two rules with conditions hold and have different actions, libseccomp's answer follows from the shape of its tree and
 * differs between its versions. Here it is fixed: the one that compares the higher argument, then equality before order,
 * then the larger value decides, which is libseccomp's order for rules of one condition.
 */
export function buildRuleTable(rules: readonly ValidRule[], defaultResult: number, arch: SeccompArch): RuleTable {
  const { bits, multiplexers } = architectures[arch];
  const { numbers } = syscallTable(arch);
  const bySyscall = new Map<number, { always: ConditionalRule } | { always?: undefined; tried: ConditionalRule[] }>();
  const unknown: string[] = [];
  let highest = -1;

  const add = (number: number, rule: ConditionalRule) => {
    const known = bySyscall.get(number);
    if (known?.always) return;
    if (known) known.tried.push(rule);
    else bySyscall.set(number, { tried: [rule] });
  };

  for (const { names, result, checks: exact, index } of rules) {
    const checks = (bits === 32 ? exact.map(lowerHalf) : exact).filter((check) => !holdsAlways(check));
    const rule = { result, checks, index };
    const alone = { always: rule };
    for (const name of names) {
      const number = numbers.get(name);
      const indirect = multiplexers && multiplexed.get(name);
      if (number === undefined && !indirect) unknown.push(name);
      highest = Math.max(highest, number ?? -1, indirect ? multiplexers[indirect.multiplexer] : -1);
      if (result === defaultResult) continue;
      if (number !== undefined) {
        if (checks.length > 0) add(number, rule);
        else if (!bySyscall.get(number)?.always) bySyscall.set(number, alone);
      }
      // The multiplexer's other arguments lie in memory, where a filter cannot look: only the kind of call is checked.
      if (indirect) {
        const call: ArgumentCheck = { arg: 0, op: 'SCMP_CMP_EQ', value: BigInt(indirect.call), mask: FULL };
        const others = checks.filter(({ arg }) => arg !== 0);
        add(multiplexers[indirect.multiplexer], { result, checks: [call, ...others], index });
      }
    }
  }
  for (const rules of bySyscall.values()) if (!rules.always) rules.tried = inOrder(rules.tried);
  return { arch, bySyscall, highest, unknown };
}

/** Whether a number is of a call newer than everything the profile names: runc's rule for what gets ENOSYS. */
export function isNewer({ arch, highest }: RuleTable, nr: number): boolean {
  // s390 shows number 0 for every number the kernel does not know.
  return highest >= 0 && (nr > highest || (nr === 0 && architectures[arch].table.startsWith('s390')));
}

const FULL = (1n << 64n) - 1n;
const LOW = 0xffffffffn;

/** A 32-bit ABI passes 32-bit arguments: the upper half of a value means nothing there. */
function lowerHalf(check: ArgumentCheck): ArgumentCheck {
  return {
    ...check,
    value: check.value & LOW,
    mask: check.op === 'SCMP_CMP_MASKED_EQ' ? check.mask & LOW : check.mask,
  };
}

function holdsAlways({ op, mask, value }: ArgumentCheck): boolean {
  return op === 'SCMP_CMP_MASKED_EQ' ? mask === 0n : op === 'SCMP_CMP_GE' && value === 0n;
}

/** Order matters only between different actions; equal ones stay as they were. */
function inOrder(rules: ConditionalRule[]): ConditionalRule[] {
  const first = rules[0]!;
  return rules.every(({ result }) => result === first.result)
    ? rules
    : rules.toSorted((a, b) => compareChecks(leading(a), leading(b)));
}

function leading({ checks }: ConditionalRule): ArgumentCheck {
  return checks.reduce((first, check) => (check.arg < first.arg ? check : first));
}

function compareChecks(a: ArgumentCheck, b: ArgumentCheck): number {
  if (a.arg !== b.arg) return b.arg - a.arg;
  const kind = rank(b.op) - rank(a.op);
  if (kind !== 0 || a.value === b.value) return kind;
  // Of two upper bounds the smaller is the narrower condition, of everything else the larger.
  const smallerFirst = rank(a.op) === 2;
  return a.value < b.value === smallerFirst ? -1 : 1;
}

function rank(op: ArgumentCheck['op']): number {
  if (op === 'SCMP_CMP_LT' || op === 'SCMP_CMP_LE') return 2;
  if (op === 'SCMP_CMP_GT' || op === 'SCMP_CMP_GE') return 1;
  return 3;
}
