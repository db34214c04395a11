import type { Architecture } from './architectures.ts';
import { type Assembler, BPF, type Label } from './assembler.ts';
import type { ConditionalRule } from './rule-table.ts';
import { Ranges, search } from './search.ts';
import type { ArgumentCheck } from './validate-profile.ts';

const U32 = 0xffffffffn;
const U64 = (1n << 64n) - 1n;

/** The values of one argument for which something holds. */
interface ValueSet {
  readonly arg: number;
  /** Whether the whole argument counts or only its lower 32 bits. */
  readonly bits: 32 | 64;
  /** Ascending, both ends included, not touching each other. */
  readonly intervals: readonly (readonly [bigint, bigint])[];
}

/** Code that tries `rules` in order and goes on at `otherwise` when none holds. */
export function compileRules(
  assembler: Assembler,
  abi: Architecture,
  rules: readonly ConditionalRule[],
  otherwise: Label,
): Label {
  const first = rules[0]!;
  const sameResult = rules.every(({ result }) => result === first.result);
  const code = new ArgumentCode(assembler, abi);
  let next = otherwise;
  if (sameResult) {
    // With one action the order is free: all rules on the same argument become one set of values.
    const { sets, others } = joinSets(rules, abi.bits);
    const verdict = assembler.ret(first.result);
    for (const { checks } of others.toReversed()) next = code.all(checks, verdict, next);
    for (const set of sets.toReversed()) next = code.contains(set, verdict, next);
    return next;
  }
  for (const { checks, result } of rules.toReversed()) next = code.all(checks, assembler.ret(result), next);
  return next;
}

function joinSets(
  rules: readonly ConditionalRule[],
  abiBits: 32 | 64,
): { sets: ValueSet[]; others: ConditionalRule[] } {
  const parts = new Map<string, ValueSet[]>();
  const others: ConditionalRule[] = [];
  for (const rule of rules) {
    const set = rule.checks.length === 1 ? valueSet(rule.checks[0]!, abiBits) : undefined;
    if (!set) {
      others.push(rule);
      continue;
    }
    const key = `${set.arg}/${set.bits}`;
    const same = parts.get(key);
    if (same) same.push(set);
    else parts.set(key, [set]);
  }
  const sets = [...parts.values()].map((same) => ({
    ...same[0]!,
    intervals: union(same.flatMap(({ intervals }) => intervals)),
  }));
  return { sets, others };
}

/** A check as a set of values, or `undefined` when its mask leaves holes. */
function valueSet({ arg, op, value, mask }: ArgumentCheck, abiBits: 32 | 64): ValueSet | undefined {
  const most = abiBits === 32 ? U32 : U64;
  switch (op) {
    case 'SCMP_CMP_MASKED_EQ': {
      const bits = mask <= U32 ? 32 : 64;
      const rest = (bits === 32 ? U32 : U64) ^ mask;
      // A mask of leading ones leaves a block of values, as the mask of an address range does.
      return (rest & (rest + 1n)) === 0n ? { arg, bits, intervals: [[value, value | rest]] } : undefined;
    }
    case 'SCMP_CMP_EQ':
      return { arg, bits: abiBits, intervals: [[value, value]] };
    case 'SCMP_CMP_NE':
      return {
        arg,
        bits: abiBits,
        intervals: union([
          [0n, value - 1n],
          [value + 1n, most],
        ]),
      };
    case 'SCMP_CMP_LT':
      return { arg, bits: abiBits, intervals: union([[0n, value - 1n]]) };
    case 'SCMP_CMP_LE':
      return { arg, bits: abiBits, intervals: [[0n, value]] };
    case 'SCMP_CMP_GE':
      return { arg, bits: abiBits, intervals: [[value, most]] };
    case 'SCMP_CMP_GT':
      return { arg, bits: abiBits, intervals: union([[value + 1n, most]]) };
  }
}

function union(intervals: readonly (readonly [bigint, bigint])[]): (readonly [bigint, bigint])[] {
  const joined: (readonly [bigint, bigint])[] = [];
  for (const interval of intervals
    .filter(([low, high]) => low <= high)
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))) {
    const last = joined.at(-1);
    if (last && interval[0] <= last[1] + 1n)
      joined[joined.length - 1] = [last[0], interval[1] > last[1] ? interval[1] : last[1]];
    else joined.push(interval);
  }
  return joined;
}

/** Makes the instructions for arguments of one ABI. */
class ArgumentCode {
  readonly #assembler: Assembler;
  readonly #abi: Architecture;

  constructor(assembler: Assembler, abi: Architecture) {
    this.#assembler = assembler;
    this.#abi = abi;
  }

  all(checks: readonly ArgumentCheck[], holds: Label, fails: Label): Label {
    return checks.reduceRight((next, check) => {
      const set = valueSet(check, this.#abi.bits);
      return set ? this.contains(set, next, fails) : this.#masked(check, next, fails);
    }, holds);
  }

  contains(set: ValueSet, holds: Label, fails: Label): Label {
    const bounds = set.intervals.flatMap(([low, high]) => [
      { start: low, label: holds },
      { start: high + 1n, label: fails },
    ]);
    return set.bits === 32
      ? this.#searchWord(set.arg, 'low', bounds, U32, fails)
      : this.#searchBoth(set.arg, bounds, fails);
  }

  /** Bounds of 64 bits: a search over the upper half, and one over the lower for each upper half in which a bound lies. */
  #searchBoth(arg: number, bounds: readonly { start: bigint; label: Label }[], before: Label): Label {
    const upper: { start: bigint; label: Label }[] = [];
    let current = before;
    for (let index = 0; index < bounds.length && bounds[index]!.start <= U64; ) {
      const high = bounds[index]!.start >> 32n;
      const inside: { start: bigint; label: Label }[] = [];
      const entry = current;
      for (; index < bounds.length && bounds[index]!.start >> 32n === high; index++) {
        inside.push({ start: bounds[index]!.start & U32, label: bounds[index]!.label });
        current = bounds[index]!.label;
      }
      upper.push(
        { start: high, label: this.#searchWord(arg, 'low', inside, U32, entry) },
        { start: high + 1n, label: current },
      );
    }
    return this.#searchWord(arg, 'high', upper, U32, before);
  }

  #searchWord(
    arg: number,
    half: 'low' | 'high',
    bounds: readonly { start: bigint; label: Label }[],
    most: bigint,
    before: Label,
  ): Label {
    const ranges = new Ranges();
    ranges.from(0, before);
    for (const { start, label } of bounds) if (start <= most) ranges.from(Number(start), label);
    const [only, ...others] = ranges.list;
    return others.length === 0 ? only!.label : this.#load(arg, half, search(this.#assembler, ranges));
  }

  #masked({ arg, mask, value }: ArgumentCheck, holds: Label, fails: Label): Label {
    const low = this.#maskedWord(arg, 'low', Number(mask & U32), Number(value & U32), holds, fails);
    return this.#maskedWord(arg, 'high', Number(mask >> 32n), Number(value >> 32n), low, fails);
  }

  #maskedWord(arg: number, half: 'low' | 'high', mask: number, value: number, holds: Label, fails: Label): Label {
    if (mask === 0) return holds;
    if (value === 0) return this.#load(arg, half, this.#assembler.jump(BPF.JSET_K, mask, fails, holds));
    const compare = this.#assembler.jump(BPF.JEQ_K, value, holds, fails);
    return this.#load(arg, half, mask === 0xffffffff ? compare : this.#assembler.and(mask, compare));
  }

  #load(arg: number, half: 'low' | 'high', next: Label): Label {
    return this.#assembler.load(argumentOffset(arg, half, this.#abi.bigEndian), next);
  }
}

/** Where half of an argument lies in `struct seccomp_data`: nr, arch, instruction_pointer, args[6] in machine order. */
function argumentOffset(arg: number, half: 'low' | 'high', bigEndian: boolean): number {
  return 16 + 8 * arg + ((half === 'high') === bigEndian ? 0 : 4);
}
