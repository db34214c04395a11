import type { Directories } from '../directories.ts';
import { parseFlatKeyed, parseNumber } from '../keyed-files.ts';

/** Processes and threads. */
export interface PidsStats {
  readonly current: number | undefined;
  /** Since 6.1. */
  readonly peak: number | undefined;
  readonly max: number | undefined;
  /** Forks refused because of the limit. */
  readonly refused: number | undefined;
}

export function pidsStats(directories: Directories): PidsStats | undefined {
  const pids = directories.of('pids');
  if (!pids) return undefined;
  return {
    current: parseNumber(pids.readOften('pids.current')),
    peak: parseNumber(pids.readOften('pids.peak')),
    max: parseNumber(pids.readOften('pids.max')),
    refused: parseFlatKeyed(pids.readOften('pids.events') ?? '').get('max'),
  };
}
