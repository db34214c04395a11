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
 * - a rule without conditions, or with empty masks only, decides alone, the first of several;
 * - of rules with conditions each that holds decides.
 *
 * Where two rules with conditions hold and have different actions, libseccomp's answer follows from the shape of its tree and
 * differs between its versions. Here it is fixed: the one that compares the higher argument, then equality before order, then
 * the larger value decides, and of equal ones the first, which is libseccomp's order for rules of one condition. It compares
 * 64 bits as two words, so values with the same upper word are in the order in which that word was first tested.
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
  for (const rules of bySyscall.values()) if (!rules.always) rules.tried = inOrder(rules.tried, bits);
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

/** Only an empty mask is no condition. ">= 0" holds always, too, but libseccomp has it wait its turn among contradicting rules. */
function holdsAlways({ op, mask }: ArgumentCheck): boolean {
  return op === 'SCMP_CMP_MASKED_EQ' && mask === 0n;
}

/** Order matters only between different actions; equal ones stay as they were. */
function inOrder(rules: ConditionalRule[], bits: 32 | 64): ConditionalRule[] {
  const result = rules[0]!.result;
  if (rules.every((rule) => rule.result === result)) return rules;
  const words = rules.map((rule) => upperWord(leading(rule), bits));
  return rules
    .map((rule, position) => ({ rule, check: leading(rule), upper: words.indexOf(words[position]!) }))
    .sort((a, b) => compareChecks(a.check, b.check, a.upper - b.upper))
    .map(({ rule }) => rule);
}

/** How the upper half of an argument is tested: libseccomp puts rules that do it alike in one place, that of the first. */
function upperWord({ arg, mask, value }: ArgumentCheck, bits: 32 | 64): string {
  return bits === 32 ? '' : `${arg} ${mask >> 32n} ${value >> 32n}`;
}

function leading({ checks }: ConditionalRule): ArgumentCheck {
  return checks.reduce((first, check) => (check.arg < first.arg ? check : first));
}

function compareChecks(a: ArgumentCheck, b: ArgumentCheck, upperWords: number): number {
  if (a.arg !== b.arg) return b.arg - a.arg;
  const kind = rank(b.op) - rank(a.op);
  if (kind !== 0) return kind;
  const sameUpper = a.value >> 32n === b.value >> 32n;
  if (rank(a.op) === EQUALITY && sameUpper && upperWords !== 0) return upperWords;
  if (a.value === b.value) return 0;
  // Of two upper bounds the smaller is the narrower condition, of everything else the larger.
  const smallerFirst = rank(a.op) === UPPER_BOUND;
  return a.value < b.value === smallerFirst ? -1 : 1;
}

const [EQUALITY, UPPER_BOUND, LOWER_BOUND] = [3, 2, 1];

function rank(op: ArgumentCheck['op']): number {
  if (op === 'SCMP_CMP_LT' || op === 'SCMP_CMP_LE') return UPPER_BOUND;
  if (op === 'SCMP_CMP_GT' || op === 'SCMP_CMP_GE') return LOWER_BOUND;
  return EQUALITY;
}
