import type { Directories } from '../directories.ts';
import { parseNestedKeyed } from '../keyed-files.ts';

/** Time lost waiting for a resource. `some`: at least one process waited; `full`: all of them at once. */
export interface Pressure {
  readonly some: Stall | undefined;
  readonly full: Stall | undefined;
}

/** Share of the time that was lost, as running averages, and all of it. */
export interface Stall {
  readonly avg10Percent: number;
  readonly avg60Percent: number;
  readonly avg300Percent: number;
  readonly totalUs: number;
}

/** PSI of the cgroup, from its directory in a v2 tree. */
export interface PressureStats {
  readonly cpu: Pressure | undefined;
  readonly memory: Pressure | undefined;
  readonly io: Pressure | undefined;
}

export function pressureStats(directories: Directories): PressureStats | undefined {
  const { unified } = directories;
  if (!unified) return undefined;
  const read = (file: string): Pressure | undefined => {
    const text = unified.readOften(file);
    return text === undefined ? undefined : parsePressure(text);
  };
  const cpu = read('cpu.pressure');
  // All or none: PSI is one switch.
  return cpu && { cpu, memory: read('memory.pressure'), io: read('io.pressure') };
}

/** The text of a pressure file. */
export function parsePressure(text: string): Pressure {
  const lines = parseNestedKeyed(text);
  const stall = (kind: string): Stall | undefined => {
    const values = lines.get(kind);
    return (
      values && {
        avg10Percent: values.get('avg10') ?? 0,
        avg60Percent: values.get('avg60') ?? 0,
        avg300Percent: values.get('avg300') ?? 0,
        totalUs: values.get('total') ?? 0,
      }
    );
  };
  return { some: stall('some'), full: stall('full') };
}
