import { onlyKnownKeys, SpecError } from '@ns/libc';
import { integer } from './change.ts';
import type { Directories } from './directories.ts';
import { type CpuStats, cpuStats } from './stats/cpu.ts';
import { type HugetlbStats, hugetlbStats } from './stats/hugetlb.ts';
import { type IoStats, ioStats } from './stats/io.ts';
import { type MemoryStats, memoryStats, type SwapStats } from './stats/memory.ts';
import { type NetworkStats, networkStats } from './stats/network.ts';
import { type PidsStats, pidsStats } from './stats/pids.ts';
import { type PressureStats, pressureStats } from './stats/pressure.ts';

/**
 * What a cgroup and everything beneath it uses. The same fields on v1 and v2; what the kernel does not count here is
 * `undefined`, never 0. A limit that is not set is `Infinity`.
 */
export interface Stats {
  readonly cpu: CpuStats | undefined;
  readonly memory: MemoryStats | undefined;
  readonly swap: SwapStats | undefined;
  readonly io: IoStats | undefined;
  readonly pids: PidsStats | undefined;
  /** By page size, `'2MB'`. */
  readonly hugetlb: Readonly<Record<string, HugetlbStats>> | undefined;
  readonly pressure: PressureStats | undefined;
  /** By interface; only when a process of the network namespace was named. */
  readonly network: Readonly<Record<string, NetworkStats>> | undefined;
}

/** What to read. */
export interface StatsOptions {
  /** A process in the network namespace whose interfaces are to be counted. */
  readonly networkOfPid?: number;
  /**
   * Only these; the others are `undefined`. Each costs a few files: who watches a thousand cgroups names what is looked at.
   * Default: all there is.
   */
  readonly only?: readonly (keyof Stats)[];
}

/**
 * Reads everything there is, or what is asked for. Synchronous: about twenty small files, none of which waits.
 *
 * @throws SpecError `ERR_NS_INVALID_SPEC` for a name in `only` that is none
 * @throws CgroupGoneError `ERR_NS_CGROUP_GONE` when it was removed
 */
export function readStats(directories: Directories, options: StatsOptions = {}): Stats {
  checkOptions(options);
  const wants = (name: keyof Stats): boolean => options.only?.includes(name) ?? true;
  const { memory, swap } =
    wants('memory') || wants('swap') ? memoryStats(directories) : { memory: undefined, swap: undefined };
  return {
    cpu: wants('cpu') ? cpuStats(directories) : undefined,
    memory: wants('memory') ? memory : undefined,
    swap: wants('swap') ? swap : undefined,
    io: wants('io') ? ioStats(directories) : undefined,
    pids: wants('pids') ? pidsStats(directories) : undefined,
    hugetlb: wants('hugetlb') ? hugetlbStats(directories) : undefined,
    pressure: wants('pressure') ? pressureStats(directories) : undefined,
    network: wants('network') && options.networkOfPid !== undefined ? networkStats(options.networkOfPid) : undefined,
  };
}

function checkOptions(options: unknown): void {
  onlyKnownKeys(options, ['networkOfPid', 'only'], '');
  const { networkOfPid, only = [] } = options;
  if (networkOfPid !== undefined) integer(1, 2 ** 22)(networkOfPid, 'networkOfPid');
  if (!Array.isArray(only)) throw new SpecError('only', 'an array of names', only);
  for (const name of only) if (!kinds.has(name)) throw new SpecError('only', `one of ${[...kinds].join(', ')}`, name);
}

/** The most a cgroup ever had; absent where its controller, or this kernel's file for it, is. */
export interface Peaks {
  readonly memoryBytes: number | undefined;
  readonly pids: number | undefined;
}

/** What is asked of every ended command: two of the files that {@link readStats} reads. */
export function readPeaks(directories: Directories): Peaks {
  return { memoryBytes: memoryStats(directories).memory?.peakBytes, pids: pidsStats(directories)?.peak };
}

const kinds: ReadonlySet<string> = new Set<keyof Stats>([
  'cpu',
  'memory',
  'swap',
  'io',
  'pids',
  'hugetlb',
  'pressure',
  'network',
]);
