import { onlyKnownKeys, SpecError } from '@ns/libc';
import { integer } from './change.ts';
import type { CpuLimits } from './controllers/cpu.ts';
import type { HugetlbLimits } from './controllers/hugetlb.ts';
import type { IoDeviceLimits } from './controllers/io.ts';
import type { MemoryLimits } from './controllers/memory.ts';
import type { Limits } from './limits.ts';
import { parseSize, type Size } from './size.ts';

/** Limits in Docker's words. What is left out is not limited. */
export interface DockerLimits {
  /** Bytes, or as `'512MiB'`. Beyond it the kernel reclaims, and then kills (`reason: 'oom'`). `memory.max`, v1 `memory.limit_in_bytes`. */
  memory?: Size;
  /** Memory plus swap, as Docker counts; -1 or `'max'`: unlimited swap. Default, and 0: twice `memory`. */
  memorySwap?: Size;
  /** Bytes that are spared when the machine runs out of memory. `memory.low`, v1 `memory.soft_limit_in_bytes`. */
  memoryReservation?: Size;
  /** Bytes from which on it is slowed down and has to give back. `memory.high`, v2 only. */
  memoryHigh?: Size;
  /** 0 to 100, v1 only. */
  memorySwappiness?: number;
  /** How many processors' time it gets, as 0.5. Not together with `cpuQuotaUs`. `cpu.max`, v1 `cpu.cfs_quota_us`. */
  cpus?: number;
  /** 2 to 262,144; default 1,024. v1 `cpu.shares`; `cpu.weight`, where that is 100. */
  cpuShares?: number;
  /** Microseconds of processor time in each period; 0 and -1: no limit. */
  cpuQuotaUs?: number;
  /** Microseconds. Default 100,000. */
  cpuPeriodUs?: number;
  /** Processors it may run on, as `'0-3,6'`. */
  cpusetCpus?: string;
  /** Memory nodes it may use, as `'0'`. */
  cpusetMems?: string;
  /** Processes and threads; 0, -1 and `'max'`: no limit. `pids.max`. */
  pids?: number | 'max';
  /** Of each device: bytes and operations per second, weights. `io.max`, v1 `blkio.throttle.*`. */
  io?: readonly IoDeviceLimits[];
  /** 10 to 1,000, Docker's `--blkio-weight`. */
  blkioWeight?: number;
  /** Bytes by page size, as `{ '2MB': '64MiB' }`. `hugetlb.<size>.max`. */
  hugepages?: HugetlbLimits;
  /** Text for any file of cgroup v2 by its name, as `{ 'memory.oom.group': '1' }`. */
  unified?: Readonly<Record<string, string>>;
}

/** The keys of {@link DockerLimits}. */
export const dockerLimitKeys: readonly (keyof DockerLimits)[] = [
  'memory',
  'memorySwap',
  'memoryReservation',
  'memoryHigh',
  'memorySwappiness',
  'cpus',
  'cpuShares',
  'cpuQuotaUs',
  'cpuPeriodUs',
  'cpusetCpus',
  'cpusetMems',
  'pids',
  'io',
  'blkioWeight',
  'hugepages',
  'unified',
];

/**
 * Translates Docker's words into {@link Limits}. Pure.
 *
 * Conversions: `cpuShares` -> `cpu.shares`, which v2 has as a weight on the curve through (2, 1), (1024, 100), (262144, 10000);
 * `memorySwap` minus `memory` -> `memory.swapMax`; `memoryReservation` -> `memory.low`; `pids` and `cpuQuotaUs` of 0 or -1 -> unlimited,
 * as in Docker.
 *
 * @throws SpecError for unknown keys and contradictions
 */
export function fromDockerLimits(limits: DockerLimits, field = 'limits'): Limits {
  onlyKnownKeys(limits, dockerLimitKeys, field);
  const memory = memoryLimits(limits, field);
  const cpu = cpuLimits(limits, field);
  const { cpusetCpus, cpusetMems, pids, io, blkioWeight, hugepages, unified } = limits;
  return {
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    ...(cpusetCpus === undefined && cpusetMems === undefined
      ? {}
      : { cpuset: { ...given('cpus', cpusetCpus), ...given('mems', cpusetMems) } }),
    ...(pids === undefined ? {} : { pids: { max: pids === 0 || pids === -1 ? 'max' : pids } }),
    ...(io === undefined && blkioWeight === undefined
      ? {}
      : { io: { ...given('devices', io), ...given('weight', blkioWeight && blkioToIoWeight(blkioWeight, field)) } }),
    ...given('hugetlb', hugepages),
    ...given('unified', unified),
  };
}

function given<Key extends string, Value>(key: Key, value: Value | undefined): { [K in Key]?: Value } {
  return (value === undefined ? {} : { [key]: value }) as { [K in Key]?: Value };
}

function memoryLimits(limits: DockerLimits, field: string): MemoryLimits {
  const { memory, memorySwap, memoryReservation, memoryHigh, memorySwappiness } = limits;
  const max = memory === undefined ? undefined : parseSize(memory, `${field}.memory`);
  return {
    ...given('max', memory),
    ...given('swapMax', swapMax(max, memorySwap, `${field}.memorySwap`)),
    ...given('low', memoryReservation),
    ...given('high', memoryHigh),
    ...given('swappiness', memorySwappiness),
  };
}

function swapMax(max: number | undefined, memorySwap: Size | undefined, field: string): Size | undefined {
  // 0 is the default, as in Docker.
  if (memorySwap === undefined || memorySwap === 0) return max === undefined ? undefined : orMaxSize(max);
  if (memorySwap === -1) return 'max';
  const total = parseSize(memorySwap, field);
  if (max === undefined)
    throw new SpecError(field, 'memory to be given too', memorySwap, 'memorySwap counts memory and swap together');
  if (total < max)
    throw new SpecError(field, `at least memory (${max})`, memorySwap, 'memorySwap counts memory and swap together');
  return total === Number.POSITIVE_INFINITY ? 'max' : total - max;
}

function orMaxSize(bytes: number): Size {
  return bytes === Number.POSITIVE_INFINITY ? 'max' : bytes;
}

function cpuLimits(limits: DockerLimits, field: string): CpuLimits {
  const { cpus, cpuShares, cpuQuotaUs, cpuPeriodUs } = limits;
  const byTime = cpuQuotaUs !== undefined || cpuPeriodUs !== undefined;
  if (cpus !== undefined && byTime) {
    throw new SpecError(
      `${field}.cpus`,
      'either cpus or cpuQuotaUs and cpuPeriodUs',
      cpus,
      'They are two ways to say the same',
    );
  }
  const unlimited = cpuQuotaUs === undefined || cpuQuotaUs === 0 || cpuQuotaUs === -1;
  const shares = cpuShares === undefined ? undefined : integer(2, 262_144)(cpuShares, `${field}.cpuShares`);
  return {
    ...(byTime
      ? { max: { quotaUs: unlimited ? 'max' : cpuQuotaUs, ...given('periodUs', cpuPeriodUs) } }
      : given('max', cpus)),
    ...given('shares', shares),
  };
}

/** Docker's range is the one BFQ had when it was new; the scale, with 100 as the default, is that of `io.weight`. */
function blkioToIoWeight(weight: number, field: string): number {
  return integer(10, 1_000)(weight, `${field}.blkioWeight`);
}
