import { SpecError } from '@ns/libc';
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
  write,
} from '../change.ts';
import { sharesToWeight, weightToShares } from '../cpu-weight.ts';

/** Limits of the cpu controller. */
export interface CpuLimits {
  /**
   * A number of cpus (`0.5`, `2`), `{ quotaUs, periodUs }`, or `'max'`. v2: `cpu.max`; v1: `cpu.cfs_quota_us` and
   * `cpu.cfs_period_us`. The period is 100,000 µs unless said otherwise; the kernel's smallest quota is 1,000 µs.
   */
  max?: number | 'max' | CpuQuota;
  /** Unused quota that may be saved up, in µs. Since 5.14. */
  burstUs?: number;
  /** Share of cpu time among siblings, 1 to 10,000, default 100. v1: `cpu.shares`, converted so that 100 is 1,024. */
  weight?: number;
  /** Instead of `weight`, in v1's words: 2 to 262,144, default 1,024. v1: `cpu.shares` as it is. v2: `cpu.weight`, converted. */
  shares?: number;
  /** Run only when nobody else wants the cpu (SCHED_IDLE). Since 5.15. */
  idle?: boolean;
}

/** So much cpu time in each period. */
export interface CpuQuota {
  quotaUs?: number | 'max';
  /** 1,000 to 1,000,000. */
  periodUs?: number;
}

/** The kernel's bounds (min_cfs_quota_period, max_cfs_quota_period). */
const minQuotaUs = 1_000;
const periodRange = integer(1_000, 1_000_000);
const defaultPeriodUs = 100_000;

interface Bandwidth {
  readonly quotaUs: number;
  readonly periodUs: number;
}

function parseMax(value: unknown, field: string): Bandwidth {
  if (value === 'max' || value === Number.POSITIVE_INFINITY)
    return { quotaUs: Number.POSITIVE_INFINITY, periodUs: defaultPeriodUs };
  if (typeof value === 'number') {
    const quotaUs = Math.round(value * defaultPeriodUs);
    if (quotaUs >= minQuotaUs && Number.isSafeInteger(quotaUs)) return { quotaUs, periodUs: defaultPeriodUs };
    throw new SpecError(field, 'a number of cpus from 0.01 on', value);
  }
  const { quotaUs = Number.POSITIVE_INFINITY, periodUs = defaultPeriodUs } = parseFields(
    { quotaUs: parseQuota, periodUs: periodRange },
    value,
    field,
  );
  return { quotaUs, periodUs };
}

function parseQuota(value: unknown, field: string): number {
  if (value === 'max') return Number.POSITIVE_INFINITY;
  return integer(minQuotaUs, 2 ** 43)(value, field);
}

const fields = {
  max: parseMax,
  burstUs: integer(0, 2 ** 43),
  weight: integer(1, 10_000),
  shares: integer(2, 262_144),
  idle: flag,
};
const noBurst = { why: 'cpu burst is since Linux 5.14' };
const noIdle = { why: 'cpu.idle is since Linux 5.15' };
const noBandwidth = { why: 'the kernel was built without CONFIG_CFS_BANDWIDTH' };

export const cpu: Driver<CpuLimits, Parsed<typeof fields>> = {
  parse(wanted, field) {
    const parsed = parseFields(fields, wanted, field);
    if (parsed.weight !== undefined && parsed.shares !== undefined)
      throw new SpecError(
        `${field}.shares`,
        'either weight or shares',
        parsed.shares,
        'They are two ways to say the same',
      );
    return parsed;
  },

  v2({ max, burstUs, weight, shares, idle }) {
    const changes: Change[] = [];
    // The kernel refuses a weight while cpu.idle is 1, so idle goes off first and on last.
    if (idle === false) changes.push(write('cpu.idle', 'cpu.idle', 0, noIdle));
    if (weight !== undefined) changes.push(write('cpu.weight', 'cpu.weight', weight));
    if (shares !== undefined) changes.push(write('cpu.shares', 'cpu.weight', sharesToWeight(shares)));
    if (max) changes.push(write('cpu.max', 'cpu.max', `${orMax(max.quotaUs)} ${max.periodUs}`, noBandwidth));
    if (burstUs !== undefined) changes.push(write('cpu.burstUs', 'cpu.max.burst', burstUs, noBurst));
    if (idle === true) changes.push(write('cpu.idle', 'cpu.idle', 1, noIdle));
    return changes;
  },

  v1({ max, burstUs, weight, shares = weight && weightToShares(weight), idle }, read) {
    const changes: Change[] = [];
    if (idle === false) changes.push(write('cpu.idle', 'cpu.idle', 0, noIdle));
    if (shares !== undefined)
      changes.push(write(weight === undefined ? 'cpu.shares' : 'cpu.weight', 'cpu.shares', shares));
    if (max && read('cpu.cfs_quota_us') === undefined) changes.push(absent('cpu.max', noBandwidth.why));
    else if (max) {
      // quota/period may never exceed the parent's, not even between the two writes.
      const period = { field: 'cpu.max', file: 'cpu.cfs_period_us', value: String(max.periodUs) };
      const quota = { field: 'cpu.max', file: 'cpu.cfs_quota_us', value: orMinusOne(max.quotaUs) };
      changes.push({ eitherOrder: [period, quota] });
    }
    if (burstUs !== undefined) changes.push(write('cpu.burstUs', 'cpu.cfs_burst_us', burstUs, noBurst));
    if (idle === true) changes.push(write('cpu.idle', 'cpu.idle', 1, noIdle));
    return changes;
  },
};
