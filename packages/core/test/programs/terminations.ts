import { setTimeout as delay } from 'node:timers/promises';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { Container, Pool, run } from '../../src/index.ts';

/* Terminates COUNT worker threads, one after the other, in the middle of everything they can do with containers. */

const [count = '20', seed = '1'] = process.argv.slice(2);

/** Never ends, and never rests: what it does is cut off at any point. */
async function forever(act: () => Promise<unknown>): Promise<never> {
  for (;;) await act();
}

async function busy(): Promise<void> {
  const container = await Container.create({ command: ['sleep', '600'] });
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

if (isMainThread) {
  const moments = random(Number(seed));
  for (let i = 0; i < Number(count); i++) {
    const worker = new Worker(new URL(import.meta.url));
    worker.on('error', (error) => {
      throw error;
    });
    await new Promise((resolve) => worker.once('message', resolve));
    await delay(100 * moments.next().value);
    await worker.terminate();
  }
  process.stdout.write(`${JSON.stringify({ terminated: Number(count) })}\n`);
} else {
  await busy();
}
