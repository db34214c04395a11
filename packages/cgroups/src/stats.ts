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

/** What to read besides the cgroup's own files. */
export interface StatsOptions {
  /** A process in the network namespace whose interfaces are to be counted. */
  readonly networkOfPid?: number;
}

/** Reads everything there is. Synchronous: about ten small files, none of which waits. */
export function readStats(directories: Directories, options: StatsOptions = {}): Stats {
  return {
    cpu: cpuStats(directories),
    ...memoryStats(directories),
    io: ioStats(directories),
    pids: pidsStats(directories),
    hugetlb: hugetlbStats(directories),
    pressure: pressureStats(directories),
    network: options.networkOfPid === undefined ? undefined : networkStats(options.networkOfPid),
  };
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
