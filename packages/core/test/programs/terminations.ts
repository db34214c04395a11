import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { eventually, kernelState, leftSince, processEntries } from '@ns/testing';
import { Container, Pool, prune, run } from '../../src/index.ts';

/* Terminates COUNT worker threads, one after the other, in the middle of everything they can do with containers. Prints as JSON
   what is left. With a TREE they copy that into one, and nothing else. */

const [count = '20', seed = '1', tree] = process.argv.slice(2);

const command = ['sleep', `600.${process.pid}`];

/** Never ends, and never rests: what it does is cut off at any point. */
async function forever(act: () => PromiseLike<unknown>): Promise<never> {
  for (;;) await act();
}

async function copying(from: string): Promise<void> {
  const container = await Container.create({ command });
  await container.start();
  parentPort!.postMessage('busy');
  await forever(() => container.copyIn(from, `/srv/${process.hrtime.bigint()}`));
}

async function busy(): Promise<void> {
  const container = await Container.create({ command });
  await container.start();
  const pool = await Pool.create({ size: 1 });
  parentPort!.postMessage('busy');
  await Promise.all([
    forever(() => run('echo', ['run'], { limits: { memory: '64MiB' } })),
    forever(() => container.exec('true')),
    forever(() => container.exec('head', ['-c', '1000000', '/dev/zero'], { encoding: 'buffer' })),
    forever(async () => {
      await using short = await Container.create({ command: ['true'] });
      await short.start();
      await short.wait();
    }),
    forever(async () => {
      await using sandbox = await pool.acquire();
      await sandbox.run('true');
    }),
    forever(() => container.stats()),
  ]);
}

/** The same numbers for the same seed. */
function* random(state: number): Generator<number> {
  for (;;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

function isRunning(argv: readonly string[]): boolean {
  return processEntries().some(({ pid }) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8') === `${argv.join('\0')}\0`;
    } catch {
      return false;
    }
  });
}

/** Makes a zygote, which waits for what dead threads have left. */
async function startSome(): Promise<void> {
  for (let i = 0; i < 3; i++) await run('true', [], { limits: { memory: '64MiB' } });
}

async function terminateOne(afterMs: number): Promise<void> {
  const worker = new Worker(new URL(import.meta.url), { argv: process.argv.slice(2) });
  await once(worker, 'message');
  await delay(afterMs);
  await worker.terminate();
}

if (isMainThread) {
  await startSome();
  await prune();
  const before = kernelState();
  const moments = random(Number(seed));
  for (let i = 0; i < Number(count); i++) await terminateOne(100 * moments.next().value);
  const ended = await eventually(() => !isRunning(command), 20_000);
  const { failed } = await prune();
  await startSome();
  process.stdout.write(JSON.stringify({ ended, failed, left: await leftSince(before) }));
} else {
  await (tree === undefined ? busy() : copying(tree));
}
