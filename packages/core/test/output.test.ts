import { constants } from 'node:buffer';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { LogBuffer } from '../src/log-buffer.ts';
import { CapturedOutput, textLimit } from '../src/output.ts';

/* What a process may make this one keep. */

const MiB = 2 ** 20;

/** What Node's memory has of what an action makes, in bytes. */
function kept<T>(make: () => T): { made: T; bytes: number } {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const used = () => {
    for (let i = 0; i < 2; i++) collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const before = used();
  const made = make();
  return { made, bytes: used() - before };
}

const output = (limit: number, onExceed: 'drop-head' | 'drop-tail' = 'drop-tail') =>
  new CapturedOutput(limit, onExceed, () => {});

test('one byte at a time costs hardly more than all at once', () => {
  const { made, bytes } = kept(() => {
    const captured = output(MiB);
    for (let i = 0; i < MiB; i++) captured.add({ fd: i % 2 ? 1 : 2, data: Buffer.from('x') });
    return captured;
  });
  expect([made.bytes(1).length, made.bytes(2).length]).toEqual([MiB / 2, MiB / 2]);
  expect(bytes).toBeLessThan(4 * MiB);
  const log = kept(() => {
    const buffer = new LogBuffer(MiB);
    for (let i = 0; i < MiB / 8; i++) buffer.add('stdout', Buffer.from('x'));
    return buffer;
  });
  expect(log.bytes).toBeLessThan(4 * MiB);
  expect(log.made.lastText()).toContain('x');
});

test('small pieces and large ones, of both streams, come in their order', () => {
  for (const limit of [10 * MiB, 50_000]) {
    for (const onExceed of ['drop-head', 'drop-tail'] as const) {
      const captured = output(limit, onExceed);
      const written: Record<1 | 2, Buffer[]> = { 1: [], 2: [] };
      for (let i = 0; i < 10_000; i++) {
        const fd = i % 3 ? 1 : 2;
        const data = Buffer.alloc(i % 500 ? (i % 7) + 1 : 2000, `${i} `);
        written[fd].push(data);
        captured.add({ fd, data });
      }
      for (const fd of [1, 2] as const) {
        const [all, part] = [Buffer.concat(written[fd]), captured.bytes(fd)];
        expect(part.length > 0 && part.length <= all.length).toBe(true);
        expect(
          (onExceed === 'drop-head' ? all.subarray(-part.length) : all.subarray(0, part.length)).equals(part),
        ).toBe(true);
      }
      const size = captured.bytes(1).length + captured.bytes(2).length;
      expect(size).toBe(Math.min(limit, Buffer.concat([...written[1], ...written[2]]).length));
    }
  }
});

test.each([
  ['drop-head', 'éé', 3, 'é'],
  ['drop-tail', 'éé', 3, 'é'],
  ['drop-head', '€x', 2, 'x'],
  ['drop-head', '😀', 3, ''],
] as const)('%s leaves no half of a character: %s', (onExceed, text, limit, left) => {
  const captured = output(limit, onExceed);
  captured.add({ fd: 1, data: Buffer.from(text) });
  expect(captured.text(1)).toBe(left);
});

test('no text is longer than one can be', () => {
  expect([textLimit(5), textLimit(2 ** 40)]).toEqual([5, constants.MAX_STRING_LENGTH]);
});
