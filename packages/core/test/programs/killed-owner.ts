import fs, { existsSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { O, open, tryLock } from '@ns/libc';
import { Container, Pool, run } from '../../src/index.ts';

/* Does one thing with containers over and over until it is ended: `killed-owner OPERATION [worker]`. */

const [operation, thread] = process.argv.slice(2) as [string, string | undefined];
const name = `killed-${process.pid}`;
const limits = { memory: '64MiB', pids: 50 };
const command = ['sleep', '600'];
const lifetime = { dieWithParent: false };

async function started(options: object): Promise<Container> {
  const container = await Container.create({ command, ...options });
  await container.start();
  return container;
}

/** Is held up before it has given back its ids, and killed. */
async function heldUpRemoval(options: object): Promise<() => Promise<void>> {
  const container = await started({ idMap: 'auto', ...options });
  const root = process.env.NS_STATE_ROOT!;
  const lock = open(join(root, 'ids/lock'), O.RDWR);
  return async () => {
    tryLock(lock.fd);
    container.remove({ force: true });
    while (existsSync(join(root, 'containers', container.id))) await delay(1);
    process.kill(process.pid, 'SIGKILL');
  };
}

/** What goes before, and what is cut short. */
const operations: Readonly<Record<string, () => Promise<() => PromiseLike<unknown>>>> = {
  run: async () => () => run('true', [], { limits }),
  async life() {
    return async () => {
      const container = await started({ name, limits, idMap: 'auto' });
      await container.rename(`${name}-again`);
      await container.remove({ force: true });
    };
  },
  async volume() {
    const mounts = [{ type: 'volume', source: 'data', target: '/data' }];
    return async () => (await started({ mounts })).remove({ force: true });
  },
  async restart() {
    const container = await started({ limits });
    return () => container.restart({ timeout: 0 });
  },
  async exec() {
    const container = await started({ limits });
    return () => container.exec('sh', ['-c', 'setsid sleep 600 & exit 1']);
  },
  removal: async () => heldUpRemoval({}),
  'removal of what outlives': async () => heldUpRemoval({ lifetime }),
  /** Is killed when it has begun to remove the state. */
  async 'half a removal'() {
    const container = await started({ lifetime });
    return async () => {
      fs.rmSync = () => process.kill(process.pid, 'SIGKILL');
      syncBuiltinESMExports();
      await container.remove({ force: true });
    };
  },
  /** Nobody has let its program go. */
  'making of what outlives': async () => async () => {
    await Container.create({ command, name, limits, idMap: 'auto', lifetime });
    process.kill(process.pid, 'SIGKILL');
  },
  async pool() {
    return async () => {
      await using pool = await Pool.create({ size: 1, template: { limits } });
      await pool.run('true');
    };
  },
};

const say = (word: string) => process.stdout.write(`${word}\n`);

async function forever(): Promise<never> {
  const act = await operations[operation]!();
  if (isMainThread) say('begins');
  else parentPort!.postMessage('begins');
  for (;;) await act();
}

if (thread === 'worker' && isMainThread) {
  const worker = new Worker(new URL(import.meta.url), { argv: process.argv.slice(2) });
  worker.once('message', say);
  process.stdin.once('data', async () => {
    await worker.terminate();
    say('terminated');
  });
} else {
  if (isMainThread) process.stdin.once('data', () => process.exit());
  await forever();
}
