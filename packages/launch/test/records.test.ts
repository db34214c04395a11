import fc from 'fast-check';
import { decodeRecord, RECORD_SIZE, type RecordKind, recordKinds } from '../src/records.ts';

/** A record as the stage sends it. */
function record(kind: number, value: bigint, options: { index?: number; rusage?: readonly bigint[] } = {}): Buffer {
  const bytes = Buffer.alloc(options.rusage ? RECORD_SIZE : 16);
  bytes.writeUInt32LE(kind, 0);
  bytes.writeUInt32LE(options.index ?? 0, 4);
  bytes.writeBigInt64LE(value, 8);
  options.rusage?.forEach((word, i) => void bytes.writeBigInt64LE(word, 16 + 8 * i));
  return bytes;
}

test.each(Object.entries(recordKinds) as [RecordKind, number][])('%s', (kind, number) => {
  expect(decodeRecord(record(number, 42n, { index: 7 }))).toEqual({
    kind,
    value: 42,
    index: 7,
    usage: undefined,
    timeMs: undefined,
  });
});

test('numbers of records are the wire format and do not change', () => {
  expect(recordKinds).toMatchObject({
    failure: 0,
    started: 1,
    ready: 2,
    executing: 3,
    payloadExit: 4,
    exit: 5,
    timeout: 6,
    seccompListener: 7,
  });
});

test('a struct rusage: seconds and microseconds, KiB, blocks of 512 bytes', () => {
  const rusage = Array<bigint>(18).fill(0n);
  [rusage[0], rusage[1], rusage[2], rusage[3], rusage[4], rusage[11], rusage[12]] = [
    1n,
    250_000n,
    2n,
    1n,
    1024n,
    3n,
    4n,
  ];
  expect(decodeRecord(record(recordKinds.exit, 256n, { rusage }))!.usage).toEqual({
    cpuUserMs: 1250,
    cpuSystemMs: 2000.001,
    maxResidentBytes: 1024 * 1024,
    ioReadBytes: 1536,
    ioWriteBytes: 2048,
  });
});

test('a journal says when, one of an older version does not', () => {
  const rusage = Array<bigint>(18).fill(0n);
  const timeOf = (words: readonly bigint[]) => decodeRecord(record(recordKinds.exit, 0n, { rusage: words }))!.timeMs;
  expect(timeOf(rusage)).toBeUndefined();
  expect(timeOf(rusage.with(13, 1_700_000_000n).with(14, 250_000_000n))).toBe(1_700_000_000_250);
});

test('what is no record of ours is nothing, never an exception', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const decoded = decodeRecord(Buffer.from(bytes));
      if (bytes.length < 16 || !Object.values(recordKinds).includes(Buffer.from(bytes).readUInt32LE(0) as never))
        expect(decoded).toBeUndefined();
      else expect(decoded!.kind in recordKinds).toBe(true);
    }),
  );
});
