import { SpecError, UnavailableError } from '@ns/libc';
import type { DockerLimits } from './docker-limits.ts';

/** What fields of {@link DockerLimits} become in cgroup v2's words; what is written, and stands first, is meant. */
const dockerNames: readonly (readonly [path: string, name: keyof DockerLimits])[] = [
  ['memory.max', 'memory'],
  ['memory.swapMax', 'memorySwap'],
  ['memory.swapMax', 'memory'],
  ['memory.low', 'memoryReservation'],
  ['memory.high', 'memoryHigh'],
  ['memory.swappiness', 'memorySwappiness'],
  ['cpu.max', 'cpus'],
  ['cpu.max.quotaUs', 'cpuQuotaUs'],
  ['cpu.max.periodUs', 'cpuPeriodUs'],
  ['cpu.max', 'cpuQuotaUs'],
  ['cpu.max', 'cpuPeriodUs'],
  ['cpu.shares', 'cpuShares'],
  ['cpuset.cpus', 'cpusetCpus'],
  ['cpuset.mems', 'cpusetMems'],
  ['pids.max', 'pids'],
  ['io.devices', 'io'],
  ['io.weight', 'blkioWeight'],
  ['hugetlb', 'hugepages'],
];

/**
 * The name that the user of {@link fromDockerLimits} has written for a limit. Pure.
 *
 * @param path - `limits.memory.high`; of a controller as a whole, `limits.cpu`, it is the first of its limits
 * @param field - where the limits stand
 *
 * @example
 * ```ts
 * dockerName('limits.memory.high', { memoryHigh: '1g' }); // 'limits.memoryHigh'
 * ```
 */
export function dockerName(path: string, limits: DockerLimits = {}, field = 'limits'): string {
  if (!path.startsWith(`${field}.`)) return path;
  const ours = path.slice(field.length + 1);
  const found = dockerNames.filter(([known]) => isWithin(ours, known) || isWithin(known, ours));
  const [known, name] = found.find(([, written]) => limits[written] !== undefined) ?? found[0] ?? [];
  return known ? `${field}.${name}${ours.slice(known.length)}` : path;
}

/** An error about limits, with the name that the user of {@link fromDockerLimits} has written; others as they are. */
export function inDockersWords(error: unknown, limits?: DockerLimits, field?: string): unknown {
  if (error instanceof SpecError) return error.at(dockerName(error.field, limits, field));
  if (error instanceof UnavailableError) return error.at(dockerName(error.feature, limits, field));
  return error;
}

function isWithin(path: string, other: string): boolean {
  return path === other || path.startsWith(`${other}.`) || path.startsWith(`${other}[`);
}
