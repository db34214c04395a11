/** What the stage reports over the status socket. The first word of each message; 0 is the stage's own failure report. */
export const recordKinds = {
  failure: 0,
  started: 1,
  ready: 2,
  executing: 3,
  payloadExit: 4,
  exit: 5,
  timeout: 6,
  seccompListener: 7,
  terminal: 8,
  scratch: 9,
  namespace: 10,
  begun: 11,
  outputLost: 12,
} as const;

/** Name of a record. */
export type RecordKind = keyof typeof recordKinds;

/** kind, then a 64-bit value at 8, then a struct rusage at 16. */
export const RECORD_SIZE = 16 + 144;
/** In a journal: a struct timespec, where Linux leaves the rusage empty (ru_msgsnd and ru_msgrcv). */
export const TIME_OFFSET = 16 + 13 * 8;

/** CPU time and memory of ended processes: struct rusage of getrusage(2). */
export interface ResourceUsage {
  readonly cpuUserMs: number;
  readonly cpuSystemMs: number;
  /** Largest resident set of any one process, in bytes. */
  readonly maxResidentBytes: number;
  /** Bytes read from and written to block devices. */
  readonly ioReadBytes: number;
  readonly ioWriteBytes: number;
}

/** A message of the stage. */
export interface StageRecord {
  readonly kind: RecordKind;
  /** A wait status, a pid, or for `failure` the errno. */
  readonly value: number;
  /** For `failure`: which instruction. */
  readonly index: number;
  readonly usage: ResourceUsage | undefined;
  /** In a journal: when it was written, in milliseconds since 1970. */
  readonly timeMs: number | undefined;
}

const kindOf = new Map<number, RecordKind>(
  Object.entries(recordKinds).map(([name, number]) => [number, name as RecordKind]),
);

/** Decodes a message; undefined for one that is none of ours. */
export function decodeRecord(bytes: Buffer): StageRecord | undefined {
  const kind = bytes.length >= 16 ? kindOf.get(bytes.readUInt32LE(0)) : undefined;
  if (kind === undefined) return undefined;
  return {
    kind,
    index: bytes.readUInt32LE(4),
    value: wordAt(bytes, 8),
    usage: bytes.length >= RECORD_SIZE ? decodeUsage(bytes.subarray(16)) : undefined,
    timeMs: bytes.length >= RECORD_SIZE ? timeAt(bytes, TIME_OFFSET) : undefined,
  };
}

/** Decodes a struct rusage. */
export function decodeUsage(rusage: Buffer): ResourceUsage {
  const word = (index: number) => wordAt(rusage, index * 8);
  const milliseconds = (index: number) => word(index) * 1000 + word(index + 1) / 1000;
  return {
    cpuUserMs: milliseconds(0),
    cpuSystemMs: milliseconds(2),
    maxResidentBytes: word(4) * 1024,
    ioReadBytes: word(11) * 512,
    ioWriteBytes: word(12) * 512,
  };
}

/** A struct timespec; undefined for none. */
function timeAt(bytes: Buffer, at: number): number | undefined {
  const seconds = wordAt(bytes, at);
  return seconds === 0 ? undefined : seconds * 1e3 + wordAt(bytes, at + 8) / 1e6;
}

/** A signed 64-bit number that a double holds. By halves: a bigint takes longer to make than a message to receive. */
function wordAt(bytes: Buffer, at: number): number {
  return bytes.readInt32LE(at + 4) * 2 ** 32 + bytes.readUInt32LE(at);
}
