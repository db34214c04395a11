import { readFileSync } from 'node:fs';
import { O, onlyKnownKeys, open, SpecError } from '@ns/libc';

/** How far a time namespace's clocks are from the machine's: time_namespaces(7). */
export interface TimeOffsets {
  /** CLOCK_MONOTONIC, in nanoseconds; may be negative. */
  readonly monotonicNs: bigint;
  /** CLOCK_BOOTTIME (what uptime shows), in nanoseconds; may be negative. */
  readonly boottimeNs: bigint;
}

/** Offsets as options: numbers of nanoseconds do up to 104 days, bigints always. Default: 0. */
export interface TimeOffsetsSpec {
  /** CLOCK_MONOTONIC, in nanoseconds; may be negative, at most 146 years. */
  readonly monotonicNs?: number | bigint;
  /** CLOCK_BOOTTIME, in nanoseconds; may be negative, at most 146 years. */
  readonly boottimeNs?: number | bigint;
}

const NS_PER_SEC = 1_000_000_000n;
// KTIME_SEC_MAX / 2 of the kernel, about 146 years: a clock may not be set further.
const MAX_OFFSET_NS = (9_223_372_036n / 2n) * NS_PER_SEC;

/**
 * Checks offsets.
 *
 * @param field - what to call them in an error
 * @throws SpecError for what is no whole number, a number that lost digits, or more than 146 years
 *
 * @example
 * ```ts
 * const offsets = parseTimeOffsetsSpec({ boottimeNs: 86_400_000_000_000 }); // up for a day longer
 * ```
 */
export function parseTimeOffsetsSpec(spec: TimeOffsetsSpec, field = 'timeOffsets'): TimeOffsets {
  onlyKnownKeys(spec, ['monotonicNs', 'boottimeNs'], field);
  return {
    monotonicNs: nanoseconds(spec.monotonicNs, `${field}.monotonicNs`),
    boottimeNs: nanoseconds(spec.boottimeNs, `${field}.boottimeNs`),
  };
}

function nanoseconds(value: number | bigint = 0n, field: string): bigint {
  if (typeof value !== 'bigint' && !Number.isSafeInteger(value)) {
    throw new SpecError(field, 'a whole number of nanoseconds', value, 'Beyond 104 days give a bigint');
  }
  const offset = BigInt(value);
  if (offset > MAX_OFFSET_NS || offset < -MAX_OFFSET_NS) throw new SpecError(field, 'at most 146 years', value);
  return offset;
}

/**
 * The text that is written to `/proc/PID/timens_offsets`: a clock, seconds, and nanoseconds from 0 to 999999999.
 *
 * @example
 * ```ts
 * formatTimeOffsets({ monotonicNs: -1n, boottimeNs: 0n }); // 'monotonic -1 999999999\nboottime 0 0\n'
 * ```
 */
export function formatTimeOffsets({ monotonicNs, boottimeNs }: TimeOffsets): string {
  return line('monotonic', monotonicNs) + line('boottime', boottimeNs);
}

function line(clock: string, offset: bigint): string {
  const nanos = ((offset % NS_PER_SEC) + NS_PER_SEC) % NS_PER_SEC;
  return `${clock} ${(offset - nanos) / NS_PER_SEC} ${nanos}\n`;
}

/**
 * Reads the text of `/proc/PID/timens_offsets`. A clock that is not mentioned is not moved.
 *
 * @throws SpecError for a malformed line
 *
 * @example
 * ```ts
 * parseTimeOffsets('monotonic 86400 0\n').monotonicNs; // 86400000000000n
 * ```
 */
export function parseTimeOffsets(text: string): TimeOffsets {
  if (typeof text !== 'string') throw new SpecError('timens_offsets', 'text', text);
  const offsets = { monotonicNs: 0n, boottimeNs: 0n };
  for (const each of text.split('\n').filter((line) => line.trim() !== '')) {
    const match = /^(monotonic|boottime|1|7)\s+(-?\d{1,19})\s+(\d{1,9})$/.exec(each.trim());
    if (!match) throw new SpecError('timens_offsets', 'lines like "monotonic 86400 0"', each);
    const [, clock, seconds, nanos] = match;
    // CLOCK_MONOTONIC is 1, CLOCK_BOOTTIME 7; the kernel takes both spellings since 5.7.
    const key = clock === 'monotonic' || clock === '1' ? 'monotonicNs' : 'boottimeNs';
    offsets[key] = BigInt(seconds!) * NS_PER_SEC + BigInt(nanos!);
  }
  return offsets;
}

/**
 * The offsets that the children of a process live with: `/proc/PID/timens_offsets`, since 5.6.
 *
 * @throws SyscallError `ENOENT` when there is no such process, or the kernel has no time namespaces
 *
 * @example
 * ```ts
 * const { boottimeNs } = readTimeOffsets(pid);
 * ```
 */
export function readTimeOffsets(pid: number | 'self' = 'self'): TimeOffsets {
  if (pid !== 'self' && !(Number.isInteger(pid) && pid > 0)) throw new SpecError('pid', "a process id or 'self'", pid);
  using file = open(`/proc/${pid}/timens_offsets`, O.RDONLY);
  return parseTimeOffsets(readFileSync(file.fd, 'latin1'));
}
