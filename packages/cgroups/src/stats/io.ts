import type { Directories } from '../directories.ts';
import { parseNestedKeyed } from '../keyed-files.ts';

/** Block io of one device, or of all. */
export interface IoCounters {
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly readOps: number;
  readonly writeOps: number;
  readonly discardBytes: number;
  readonly discardOps: number;
}

/** Block io of all devices together, and of each. */
export interface IoStats extends IoCounters {
  /** By `major:minor`; devices that were not used do not appear. */
  readonly devices: Readonly<Record<string, IoCounters>>;
}

type Mutable = { -readonly [Key in keyof IoCounters]: number };

const none = (): Mutable => ({ readBytes: 0, writeBytes: 0, readOps: 0, writeOps: 0, discardBytes: 0, discardOps: 0 });

const v2Keys: Readonly<Record<string, keyof IoCounters>> = {
  rbytes: 'readBytes',
  wbytes: 'writeBytes',
  rios: 'readOps',
  wios: 'writeOps',
  dbytes: 'discardBytes',
  dios: 'discardOps',
};

/** v1: file, then the word of a line. */
const v1Files: readonly (readonly [string, Readonly<Record<string, keyof IoCounters>>])[] = [
  ['blkio.throttle.io_service_bytes_recursive', { Read: 'readBytes', Write: 'writeBytes', Discard: 'discardBytes' }],
  ['blkio.throttle.io_serviced_recursive', { Read: 'readOps', Write: 'writeOps', Discard: 'discardOps' }],
];

export function ioStats(directories: Directories): IoStats | undefined {
  const io = directories.of('io');
  if (!io) return undefined;
  const devices: Record<string, Mutable> = {};
  if (io.hierarchy.version === 2) {
    const text = io.readOften('io.stat');
    if (text === undefined) return undefined;
    for (const [device, values] of parseNestedKeyed(text)) {
      const counters = none();
      devices[device] = counters;
      for (const [key, value] of values) if (v2Keys[key]) counters[v2Keys[key]] = value;
    }
  } else {
    for (const [file, words] of v1Files) {
      const text = io.readOften(file);
      if (text === undefined) return undefined;
      for (const line of text.split('\n')) {
        const [device = '', word = '', value] = line.split(' ');
        const key = words[word];
        if (!key) continue;
        devices[device] ??= none();
        devices[device][key] = Number(value);
      }
    }
  }
  const total = none();
  for (const counters of Object.values(devices)) {
    for (const key of Object.keys(total) as (keyof IoCounters)[]) total[key] += counters[key];
  }
  return { ...total, devices };
}
