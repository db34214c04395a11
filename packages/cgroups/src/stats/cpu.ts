import type { Directories } from '../directories.ts';
import { parseFlatKeyed, parseNumber } from '../keyed-files.ts';

/** Cpu time in µs since the cgroup was made. */
export interface CpuStats {
  readonly usageUs: number | undefined;
  readonly userUs: number | undefined;
  readonly systemUs: number | undefined;
  /** Enforcement periods that passed under a quota. */
  readonly periods: number | undefined;
  /** Periods in which the quota was used up. */
  readonly throttledPeriods: number | undefined;
  readonly throttledUs: number | undefined;
  readonly burstPeriods: number | undefined;
  readonly burstUs: number | undefined;
}

export function cpuStats(directories: Directories): CpuStats | undefined {
  // The v2 tree counts cpu time in cpu.stat even where it has no cpu controller.
  const unified = directories.unified?.readOften('cpu.stat');
  const time = unified === undefined ? v1Time(directories) : v2Time(parseFlatKeyed(unified));
  const cpu = directories.of('cpu');
  const bandwidth = cpu === undefined || cpu === directories.unified ? unified : cpu.readOften('cpu.stat');
  if (time === undefined && bandwidth === undefined) return undefined;
  const values = parseFlatKeyed(bandwidth ?? '');
  return {
    ...(time ?? { usageUs: undefined, userUs: undefined, systemUs: undefined }),
    periods: values.get('nr_periods'),
    throttledPeriods: values.get('nr_throttled'),
    throttledUs: values.get('throttled_usec') ?? nanosecondsAsUs(values.get('throttled_time')),
    burstPeriods: values.get('nr_bursts'),
    burstUs: values.get('burst_usec') ?? nanosecondsAsUs(values.get('burst_time')),
  };
}

type Time = Pick<CpuStats, 'usageUs' | 'userUs' | 'systemUs'>;

function v2Time(values: ReadonlyMap<string, number>): Time {
  return { usageUs: values.get('usage_usec'), userUs: values.get('user_usec'), systemUs: values.get('system_usec') };
}

function v1Time(directories: Directories): Time | undefined {
  const cpuacct = directories.of('cpuacct');
  if (!cpuacct) return undefined;
  const time = (file: string): number | undefined => nanosecondsAsUs(parseNumber(cpuacct.readOften(file)));
  return { usageUs: time('cpuacct.usage'), userUs: time('cpuacct.usage_user'), systemUs: time('cpuacct.usage_sys') };
}

function nanosecondsAsUs(value: number | undefined): number | undefined {
  return value === undefined ? undefined : Math.round(value / 1_000);
}
