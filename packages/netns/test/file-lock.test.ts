import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { withDirectoryLock, withFileLock } from '../src/file-lock.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'file-lock-'));
});
afterEach(() => rmSync(root, { recursive: true }));

test.each([
  ['a file', withFileLock],
  ['a directory', withDirectoryLock],
])(
  'of many who want %s each has it alone, in the order in which they came, without waiting for longer',
  async (_, withLock) => {
    const order: number[] = [];
    let holders = 0;
    // From one to the next. A machine that pauses is in one of them.
    const pauses: number[] = [];
    let free = performance.now();
    const hold = (index: number) =>
      withLock(join(root, 'lock'), async () => {
        pauses.push(performance.now() - free);
        expect(++holders).toBe(1);
        await sleep(1);
        free = performance.now();
        order.push(index);
        holders--;
        if (index % 10 === 0) throw new Error('on the way');
      });
    await Promise.allSettled(Array.from({ length: 100 }, (_none, index) => hold(index)));
    expect(order).toEqual(order.map((__, index) => index));
    expect(order).toHaveLength(100);
    expect(pauses.sort((a, b) => a - b)[50]).toBeLessThan(15);
  },
);

test('who holds a directory may remove it, and who has no time does not wait', async () => {
  const path = join(root, 'removed');
  const first = withDirectoryLock(path, async () => {
    await sleep(20);
    rmSync(path, { recursive: true });
  });
  await expect(withDirectoryLock(path, async () => {}, 0)).rejects.toMatchObject({ code: 'ERR_NS_LOCK_TIMEOUT' });
  await withDirectoryLock(path, async () => expect(existsSync(path)).toBe(true));
  await first;
});
