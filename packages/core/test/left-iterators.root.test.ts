import { watch } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { needs, notRoot } from '@ns/testing';
import { Container, run } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* Who waits for what a container has to say, and leaves. */

useOwnStateRoot();
const test = needs(notRoot);
const done = { done: true, value: undefined };

// Node opens its inotify when it is first used.
beforeAll(() => watch(tmpdir()).close());

const iterables: Readonly<Record<string, (c: Container) => AsyncIterable<unknown>>> = {
  'its log': (c) => c.logs({ follow: true }),
  'its log, for some time,': (c) => c.logs({ follow: true, timeout: 60_000 }),
  'its stats': (c) => c.stats({ interval: 60_000 }),
  'its stats, for some time,': (c) => c.stats({ interval: 60_000, timeout: 60_000 }),
  'its events': (c) => c.events(),
  'its events, for some time,': (c) => c.events({ signal: AbortSignal.timeout(60_000) }),
};

async function leave(values: AsyncIterable<unknown>): Promise<void> {
  const iterator = values[Symbol.asyncIterator]();
  // The first stats are there at once.
  const [, waits] = [iterator.next(), iterator.next()];
  await delay(50);
  const left = await Promise.race([Promise.all([iterator.return!(), waits]), delay(1_000, 'held up')]);
  expect(left).toEqual([done, done]);
}

const logs = { 'in memory': {}, 'in files': { log: {} } };
for (const [where, more] of Object.entries(logs))
  test(`who leaves while he waits is let go at once, with a log ${where}`, async () => {
    await leavesNothing(async () => {
      await using container = await Container.create({ command: ['sleep', '600'], ...more });
      await container.start();
      for (const values of Object.values(iterables)) await leave(values(container));
      // Nothing is held by those that nobody has read, either.
      for (const values of Object.values(iterables)) await values(container)[Symbol.asyncIterator]().return!();
    });
  });

test('the output of a command that was left goes on to its result', async () => {
  const command = run('sh', ['-c', 'sleep 1.5; echo after']);
  await leave(command);
  expect(await command).toMatchObject({ exitCode: 0, stdout: 'after\n' });
});
