import { setTimeout as delay } from 'node:timers/promises';
import { isMainThread, Worker } from 'node:worker_threads';
import { Container, Pool, run } from '../../src/index.ts';

/* Uses the library as MODE says, and says how it went in one line of JSON. It never says when to end, but in `exit`. */

export { Container, run };

const [mode = ''] = process.argv.slice(2);
const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);
const sleep = { command: ['sleep', '600'] };

async function everything(): Promise<string> {
  const { stdout } = await run('echo', ['run'], { limits: { memory: '64MiB' } });
  await using container = await Container.create(sleep);
  await container.start();
  await container.exec('true');
  await container.remove({ force: true });
  await using pool = await Pool.create({ size: 1 });
  await using sandbox = await pool.acquire();
  await sandbox.run('true');
  return stdout;
}

function listeners(): Record<string, number> {
  return Object.fromEntries(process.eventNames().map((name) => [String(name), process.listenerCount(name)]));
}

const modes: Readonly<Record<string, () => unknown>> = {
  async everything() {
    const before = listeners();
    await everything();
    // What serves the next start goes a moment after the last.
    for (let i = 0; i < 500 && JSON.stringify(listeners()) !== JSON.stringify(before); i++) await delay(20);
    say({ before, after: listeners() });
  },
  once: everything,
  // A second copy of every module but koffi: that is what npm does when two dependents want different versions of us.
  async copies() {
    const copy: { Container: typeof Container; run: typeof run } = await import(`${import.meta.url}?copy`);
    await using one = await Container.create(sleep);
    await using two = await copy.Container.create(sleep);
    await Promise.all([one.start(), two.start()]);
    const outputs = await Promise.all([run('echo', ['one']), copy.run('echo', ['two'])]);
    const found = await copy.Container.get(one.id);
    const { exitCode } = await found.exec('sh', ['-c', 'exit 7']);
    const listed = [await Container.list(), await copy.Container.list()].map((list) => list.map(({ id }) => id).sort());
    await found[Symbol.asyncDispose]();
    say({
      same: Container === copy.Container,
      stdout: outputs.map(({ stdout }) => stdout),
      exitCode,
      listed: listed.map((ids) => ids.join() === [one.id, two.id].sort().join()),
      status: [one.status, two.status],
    });
  },
  async workers() {
    const workers = [0, 1].map(() => new Worker(new URL(import.meta.url), { argv: ['once'], stdout: true }));
    say(await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve)))));
  },
  async throws() {
    const container = await Container.create(sleep);
    await container.start();
    say(container.pid);
    setTimeout(() => {
      throw new Error('nobody catches this');
    });
    await container.exec('sleep', ['600']);
  },
  async rejects() {
    const container = await Container.create(sleep);
    await container.start();
    say(container.pid);
    Promise.reject(new Error('nobody catches this'));
    await container.exec('sleep', ['600']);
  },
  // In the middle of everything.
  async exit() {
    const container = await Container.create(sleep);
    await container.start();
    say(container.pid);
    for (let i = 0; i < 8; i++) {
      everything().catch(() => {});
      container.exec('yes', { maxOutput: { bytes: 1_000_000, onExceed: 'drop-tail' } }).catch(() => {});
    }
    container.wait().catch(() => {});
    await delay(50);
    process.exit(5);
  },
};

if (new URL(import.meta.url).search === '' && (isMainThread || mode !== '')) await modes[mode]?.();
