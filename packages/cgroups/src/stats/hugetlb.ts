import { readdirSync } from 'node:fs';
import type { Directories } from '../directories.ts';
import { parseFlatKeyed, parseNumber } from '../keyed-files.ts';

/** Huge pages of one size. */
export interface HugetlbStats {
  readonly currentBytes: number | undefined;
  readonly peakBytes: number | undefined;
  readonly maxBytes: number | undefined;
  /** Allocations refused because of the limit. */
  readonly refused: number | undefined;
}

let sizes: readonly string[] | undefined;

/** Page sizes of this machine as cgroup files spell them, from `/sys/kernel/mm/hugepages`. */
function pageSizes(): readonly string[] {
  sizes ??= listHugepages().map(spellSize);
  return sizes;
}

function listHugepages(): readonly number[] {
  try {
    return readdirSync('/sys/kernel/mm/hugepages').map((name) => Number(/^hugepages-(\d+)kB$/.exec(name)?.[1]));
  } catch {
    return []; // a kernel without huge pages, or no sysfs
  }
}

function spellSize(kilobytes: number): string {
  if (kilobytes >= 1024 ** 2) return `${kilobytes / 1024 ** 2}GB`;
  return kilobytes >= 1024 ? `${kilobytes / 1024}MB` : `${kilobytes}KB`;
}

export function hugetlbStats(directories: Directories): Readonly<Record<string, HugetlbStats>> | undefined {
  const hugetlb = directories.of('hugetlb');
  if (!hugetlb) return undefined;
  const number = (file: string): number | undefined => parseNumber(hugetlb.readOften(file));
  const v2 = hugetlb.hierarchy.version === 2;
  const entries = pageSizes().map((size): [string, HugetlbStats] => {
    const prefix = `hugetlb.${size}`;
    return [
      size,
      {
        currentBytes: number(v2 ? `${prefix}.current` : `${prefix}.usage_in_bytes`),
        peakBytes: v2 ? undefined : number(`${prefix}.max_usage_in_bytes`),
        maxBytes: number(v2 ? `${prefix}.max` : `${prefix}.limit_in_bytes`),
        refused: v2
          ? parseFlatKeyed(hugetlb.readOften(`${prefix}.events`) ?? '').get('max')
          : number(`${prefix}.failcnt`),
      },
    ];
  });
  const counted = entries.filter(([, stats]) => stats.currentBytes !== undefined);
  return counted.length > 0 ? Object.fromEntries(counted) : undefined;
}
