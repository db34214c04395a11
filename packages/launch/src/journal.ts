import { type Exit, usageOfInit } from './exit.ts';
import { decodeRecord, RECORD_SIZE, type StageRecord } from './records.ts';
import { SIGNALS } from './signals.ts';
import { decodeWaitStatus } from './wait-status.ts';

/**
 * How a process ended, from its journal. A journal without an end is that of a monitor that was killed, and its child with
 * it.
 */
export function readExit(journal: Buffer | undefined): Exit {
  const records = recordsOf(journal);
  const last = (kind: StageRecord['kind']) => records.findLast((record) => record.kind === kind);
  const exit = last('exit');
  const status = last('payloadExit')?.value ?? exit?.value ?? SIGNALS.SIGKILL;
  return {
    ...decodeWaitStatus(status),
    timedOut: last('timeout') !== undefined,
    outputLost: last('outputLost') !== undefined,
    failure: undefined,
    usage: usageOfInit(exit),
  };
}

/** Has it been told to go on, when it was parked, according to its journal? */
export function hasBegun(journal: Buffer | undefined): boolean {
  return recordsOf(journal).some(({ kind }) => kind === 'begun');
}

/** From the word to go on to the end of the monitor, in milliseconds since 1970, according to a journal. */
export function readTimes(journal: Buffer | undefined): { begunMs: number | undefined; endedMs: number | undefined } {
  const records = recordsOf(journal);
  const timeOf = (wanted: StageRecord['kind']) => records.findLast(({ kind }) => kind === wanted)?.timeMs;
  return { begunMs: timeOf('begun'), endedMs: timeOf('exit') };
}

function recordsOf(journal: Buffer = Buffer.alloc(0)): StageRecord[] {
  return Array.from({ length: Math.floor(journal.length / RECORD_SIZE) }, (_, index) =>
    decodeRecord(journal.subarray(index * RECORD_SIZE, (index + 1) * RECORD_SIZE)),
  ).filter((record) => record !== undefined);
}
