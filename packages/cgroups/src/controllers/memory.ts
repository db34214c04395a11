import {
  absent,
  type Change,
  type Driver,
  flag,
  integer,
  orMax,
  orMinusOne,
  type Parsed,
  parseFields,
  type ReadFile,
  write,
} from '../change.ts';
import { parseSize, type Size } from '../size.ts';

/** Limits of the memory controller. Every size: bytes, `'256MiB'` or `'max'`. */
export interface MemoryLimits {
  /** Hard limit; beyond it the kernel reclaims, then kills. v1: `memory.limit_in_bytes`. */
  max?: Size;
  /** Throttling limit; beyond it processes are slowed down and reclaimed from, not killed. v2 only. */
  high?: Size;
  /** Best-effort protection from reclaim. v1: `memory.soft_limit_in_bytes`, its nearest relative. */
  low?: Size;
  /** Hard protection from reclaim. v2 only. */
  min?: Size;
  /** Swap alone, not memory plus swap. v1: `memory.memsw.limit_in_bytes`, made of `max` plus this. */
  swapMax?: Size;
  /** Throttling limit of swap. v2, since 5.8. */
  swapHigh?: Size;
  /** Compressed swap in memory. v2, since 5.19. */
  zswapMax?: Size;
  /** Kill all processes of the cgroup when one must be. v2, since 4.19. */
  oomGroup?: boolean;
  /** 0 (avoid swapping) to 100. v1 only. */
  swappiness?: number;
}

const fields = {
  max: parseSize,
  high: parseSize,
  low: parseSize,
  min: parseSize,
  swapMax: parseSize,
  swapHigh: parseSize,
  zswapMax: parseSize,
  oomGroup: flag,
  swappiness: integer(0, 100),
};

const noSwapAccounting = {
  why: 'this kernel does not account swap',
  fix: 'Boot with swapaccount=1 and a kernel with CONFIG_SWAP',
};

type Sizes = Exclude<keyof typeof fields, 'oomGroup' | 'swappiness'>;

const v2Files: readonly (readonly [Sizes, string])[] = [
  ['min', 'memory.min'],
  ['low', 'memory.low'],
  ['high', 'memory.high'],
  ['max', 'memory.max'],
  ['swapMax', 'memory.swap.max'],
  ['swapHigh', 'memory.swap.high'],
  ['zswapMax', 'memory.zswap.max'],
];

export const memory: Driver<MemoryLimits, Parsed<typeof fields>> = {
  parse: (wanted, field) => parseFields(fields, wanted, field),

  v2(limits) {
    const changes: Change[] = [];
    // Kill-all is said first: a max below present usage may kill at once.
    if (limits.oomGroup !== undefined) {
      changes.push(
        write('memory.oomGroup', 'memory.oom.group', limits.oomGroup ? 1 : 0, {
          why: 'memory.oom.group is since Linux 4.19',
        }),
      );
    }
    for (const [key, file] of v2Files) {
      const value = limits[key];
      if (value === undefined) continue;
      const ifMissing = key.startsWith('swap') ? noSwapAccounting : { why: `this kernel has no ${file}` };
      changes.push(write(`memory.${key}`, file, orMax(value), ifMissing));
    }
    if (limits.swappiness !== undefined) {
      changes.push(
        absent(
          'memory.swappiness',
          'cgroup v2 has no swappiness per cgroup',
          'To forbid swapping, set memory.swapMax to 0, in the words of Docker memorySwap to as much as memory',
        ),
      );
    }
    return changes;
  },

  v1(limits, read) {
    const changes: Change[] = [];
    if (limits.low !== undefined)
      changes.push(write('memory.low', 'memory.soft_limit_in_bytes', orMinusOne(limits.low)));
    if (limits.max !== undefined || limits.swapMax !== undefined) changes.push(...v1Maximum(limits, read));
    if (limits.swappiness !== undefined)
      changes.push(write('memory.swappiness', 'memory.swappiness', limits.swappiness));
    for (const key of ['high', 'min', 'swapHigh', 'zswapMax', 'oomGroup'] as const) {
      if (limits[key] !== undefined)
        changes.push(absent(`memory.${key}`, 'the memory controller of cgroup v1 does not have it'));
    }
    return changes;
  },
};

/** Beyond any machine: v1 prints "no limit" as the largest page-aligned number. */
const unlimitedFrom = 2 ** 62;

function v1Bytes(text: string | undefined): number {
  const value = Number(text ?? Number.NaN);
  return value < unlimitedFrom ? value : Number.POSITIVE_INFINITY;
}

function v1Maximum(limits: Parsed<typeof fields>, read: ReadFile): readonly Change[] {
  const limit = 'memory.limit_in_bytes';
  const limitAndSwap = 'memory.memsw.limit_in_bytes';
  const memswText = read(limitAndSwap);
  if (memswText === undefined) {
    return [
      ...(limits.max === undefined ? [] : [write('memory.max', limit, orMinusOne(limits.max))]),
      ...(limits.swapMax === undefined ? [] : [absent('memory.swapMax', noSwapAccounting.why, noSwapAccounting.fix)]),
    ];
  }
  const maxNow = v1Bytes(read(limit));
  const memswNow = v1Bytes(memswText);
  const max = limits.max ?? maxNow;
  // An update of max alone keeps the swap allowance, as on v2 where it is a number of its own.
  const swap = limits.swapMax ?? (memswNow === Number.POSITIVE_INFINITY ? memswNow : memswNow - maxNow);
  const first = {
    field: limits.max === undefined ? 'memory.swapMax' : 'memory.max',
    file: limit,
    value: orMinusOne(max),
  };
  const second = {
    field: limits.swapMax === undefined ? 'memory.max' : 'memory.swapMax',
    file: limitAndSwap,
    value: orMinusOne(max + swap),
  };
  return [{ eitherOrder: [first, second] }];
}
