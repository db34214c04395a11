import { SpecError } from '@ns/libc';
import { type DockerLimits, fromDockerLimits } from './docker-limits.ts';
import { parseLimits } from './limits.ts';

/** What a field of {@link DockerLimits} becomes in cgroup v2's words; the longer path stands before its beginning. */
const dockerNames: readonly (readonly [path: string, name: keyof DockerLimits])[] = [
  ['memory.max', 'memory'],
  ['memory.swapMax', 'memorySwap'],
  ['memory.low', 'memoryReservation'],
  ['memory.high', 'memoryHigh'],
  ['memory.swappiness', 'memorySwappiness'],
  ['cpu.max.quotaUs', 'cpuQuotaUs'],
  ['cpu.max.periodUs', 'cpuPeriodUs'],
  ['cpu.max', 'cpus'],
  ['cpu.weight', 'cpuShares'],
  ['cpuset.cpus', 'cpusetCpus'],
  ['cpuset.mems', 'cpusetMems'],
  ['pids.max', 'pids'],
  ['io.devices', 'io'],
  ['io.weight', 'blkioWeight'],
  ['hugetlb', 'hugepages'],
];

/**
 * Checks limits in Docker's words before anything is made. No privileges; it touches a file system only for a device
 * that is named by a path.
 *
 * @param field - where the limits stand, for messages
 * @throws SpecError `ERR_NS_INVALID_SPEC` whose `field` is the one the caller wrote, `limits.cpus`
 *
 * @example
 * ```ts
 * checkDockerLimits({ cpus: -1 }); // SpecError: limits.cpus: expected a number of cpus from 0.01 on, received -1
 * ```
 */
export function checkDockerLimits(limits: DockerLimits, field = 'limits'): void {
  const { cpus } = limits as { readonly cpus?: unknown };
  // An object is the other vocabulary's way to say quota and period.
  if (cpus !== undefined && cpus !== 'max' && typeof cpus !== 'number')
    throw new SpecError(`${field}.cpus`, 'a number of cpus from 0.01 on', cpus);
  try {
    parseLimits(fromDockerLimits(limits, field), field);
  } catch (error) {
    throw error instanceof SpecError ? inDockersWords(error, field) : error;
  }
}

function inDockersWords(error: SpecError, field: string): SpecError {
  const path = error.field.slice(field.length + 1);
  const renamed = dockerNames.find(
    ([ours]) => path === ours || path.startsWith(`${ours}.`) || path.startsWith(`${ours}[`),
  );
  if (!renamed) return error;
  const [ours, name] = renamed;
  return error.at(`${field}.${name}${path.slice(ours.length)}`);
}
