import type { Directories } from '../directories.ts';
import type { CgroupDirectory } from '../directory.ts';
import { parseFlatKeyed, parseNumber } from '../keyed-files.ts';

/** Memory in bytes, and how often limits were met. */
export interface MemoryStats {
  readonly currentBytes: number | undefined;
  /** Highest since the cgroup was made. v2: since 5.19. */
  readonly peakBytes: number | undefined;
  readonly maxBytes: number | undefined;
  readonly anonBytes: number | undefined;
  readonly fileBytes: number | undefined;
  readonly kernelBytes: number | undefined;
  readonly kernelStackBytes: number | undefined;
  readonly pageTableBytes: number | undefined;
  readonly slabBytes: number | undefined;
  readonly socketBytes: number | undefined;
  /** tmpfs, shared memory and shared anonymous mappings; part of `fileBytes`. */
  readonly shmemBytes: number | undefined;
  readonly mappedFileBytes: number | undefined;
  readonly dirtyFileBytes: number | undefined;
  readonly writebackFileBytes: number | undefined;
  readonly activeFileBytes: number | undefined;
  readonly inactiveFileBytes: number | undefined;
  /** `currentBytes` without the file pages that can be dropped first: what `docker stats` shows. */
  readonly workingSetBytes: number | undefined;
  readonly pageFaults: number | undefined;
  readonly majorPageFaults: number | undefined;
  readonly events: MemoryEvents;
}

/** How often something happened, in this cgroup or beneath it (on v1: in this cgroup). */
export interface MemoryEvents {
  readonly low: number | undefined;
  readonly high: number | undefined;
  /** Times the hard limit was hit; v1: `memory.failcnt`. */
  readonly max: number | undefined;
  readonly oom: number | undefined;
  /** Processes killed for memory. v1: since 4.13. */
  readonly oomKill: number | undefined;
  readonly oomGroupKill: number | undefined;
}

type KindKey = Exclude<keyof MemoryStats, 'currentBytes' | 'peakBytes' | 'maxBytes' | 'workingSetBytes' | 'events'>;

/** Key in v2's `memory.stat`, and in v1's, where `total_` includes the children. */
const kinds: readonly (readonly [KindKey, string, string | undefined])[] = [
  ['anonBytes', 'anon', 'total_rss'],
  ['fileBytes', 'file', 'total_cache'],
  ['kernelBytes', 'kernel', undefined],
  ['kernelStackBytes', 'kernel_stack', undefined],
  ['pageTableBytes', 'pagetables', undefined],
  ['slabBytes', 'slab', undefined],
  ['socketBytes', 'sock', undefined],
  ['shmemBytes', 'shmem', 'total_shmem'],
  ['mappedFileBytes', 'file_mapped', 'total_mapped_file'],
  ['dirtyFileBytes', 'file_dirty', 'total_dirty'],
  ['writebackFileBytes', 'file_writeback', 'total_writeback'],
  ['activeFileBytes', 'active_file', 'total_active_file'],
  ['inactiveFileBytes', 'inactive_file', 'total_inactive_file'],
  ['pageFaults', 'pgfault', 'total_pgfault'],
  ['majorPageFaults', 'pgmajfault', 'total_pgmajfault'],
];

const totals = {
  1: { current: 'memory.usage_in_bytes', peak: 'memory.max_usage_in_bytes', max: 'memory.limit_in_bytes' },
  2: { current: 'memory.current', peak: 'memory.peak', max: 'memory.max' },
} as const;

/** Both come out of one reading of `memory.stat`, the costliest file to make and to parse. */
export function memoryStats(directories: Directories): {
  memory: MemoryStats | undefined;
  swap: SwapStats | undefined;
} {
  const memory = directories.of('memory');
  if (!memory) return { memory: undefined, swap: undefined };
  const values = parseFlatKeyed(memory.readOften('memory.stat') ?? '');
  const usage = memoryUsage(memory, values);
  return {
    memory: usage,
    swap: memory.hierarchy.version === 2 ? v2Swap(memory) : v1Swap(memory, values, usage.maxBytes),
  };
}

function memoryUsage(memory: CgroupDirectory, values: ReadonlyMap<string, number>): MemoryStats {
  const { version } = memory.hierarchy;
  const byKind = Object.fromEntries(
    kinds.map(([key, v2, v1]) => {
      const name = version === 2 ? v2 : v1;
      return [key, name === undefined ? undefined : values.get(name)];
    }),
  ) as Pick<MemoryStats, KindKey>;
  const currentBytes = parseNumber(memory.readOften(totals[version].current));
  return {
    ...byKind,
    kernelBytes:
      byKind.kernelBytes ?? (version === 1 ? parseNumber(memory.readOften('memory.kmem.usage_in_bytes')) : undefined),
    currentBytes,
    peakBytes: parseNumber(memory.readOften(totals[version].peak)),
    maxBytes: parseNumber(memory.readOften(totals[version].max)),
    workingSetBytes:
      currentBytes === undefined ? undefined : Math.max(currentBytes - (byKind.inactiveFileBytes ?? 0), 0),
    events: version === 2 ? v2Events(memory) : v1Events(memory),
  };
}

function v2Events(memory: CgroupDirectory): MemoryEvents {
  const values = parseFlatKeyed(memory.readOften('memory.events') ?? '');
  return {
    low: values.get('low'),
    high: values.get('high'),
    max: values.get('max'),
    oom: values.get('oom'),
    oomKill: values.get('oom_kill'),
    oomGroupKill: values.get('oom_group_kill'),
  };
}

function v1Events(memory: CgroupDirectory): MemoryEvents {
  return {
    low: undefined,
    high: undefined,
    max: parseNumber(memory.readOften('memory.failcnt')),
    oom: undefined,
    oomKill: parseFlatKeyed(memory.readOften('memory.oom_control') ?? '').get('oom_kill'),
    oomGroupKill: undefined,
  };
}

/** Swap in bytes, without memory. */
export interface SwapStats {
  readonly currentBytes: number | undefined;
  /** v2 only, since 6.5. */
  readonly peakBytes: number | undefined;
  readonly maxBytes: number | undefined;
}

function v2Swap(memory: CgroupDirectory): SwapStats | undefined {
  const number = (file: string): number | undefined => parseNumber(memory.readOften(file));
  const currentBytes = number('memory.swap.current');
  if (currentBytes === undefined) return undefined;
  return { currentBytes, peakBytes: number('memory.swap.peak'), maxBytes: number('memory.swap.max') };
}

/** v1 limits and counts memory and swap together, and has swap alone only in memory.stat. */
function v1Swap(
  memory: CgroupDirectory,
  values: ReadonlyMap<string, number>,
  memoryMaxBytes: number | undefined,
): SwapStats | undefined {
  const memsw = parseNumber(memory.readOften('memory.memsw.limit_in_bytes'));
  if (memsw === undefined) return undefined;
  const maxBytes = memsw === Number.POSITIVE_INFINITY ? memsw : memsw - (memoryMaxBytes ?? 0);
  return { currentBytes: values.get('total_swap'), peakBytes: undefined, maxBytes };
}
