import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Container } from '@ns/core';
import { eventually, needs, notRoot } from '@ns/testing';
import { NodeProgram } from './node-program.ts';
import { useOwnDirectory } from './own-directory.ts';

/* Calls that are made before those made earlier have settled. */

const test = needs(notRoot);
const dir = useOwnDirectory('order');
const sleeper = { command: ['sleep', '600'] } as const;

test('what is asked for last is so in the end', async () => {
  await using container = await Container.create({ ...sleeper, limits: { pids: 64 } });
  await container.start();
  await Promise.all([container.restart({ timeout: 0 }), container.stop({ timeout: 0 })]);
  expect(container.status).toBe('stopped');
  await Promise.all([container.start(), container.stop({ timeout: 0 })]);
  expect(container.status).toBe('stopped');
  await container.start();
  await Promise.all([container.pause(), container.resume()]);
  expect(container.status).toBe('running');
  await Promise.all([container.resume(), container.pause()]);
  expect(container.status).toBe('paused');
  await container.resume();
  await Promise.all([container.stop({ timeout: 0 }), container.start()]);
  expect(container.status).toBe('running');
});

test('one that is stopped while it is being paused hears of it', async () => {
  const command = ['sh', '-c', 'trap "exit 7" TERM; echo ready; while :; do sleep 0.02; done'];
  await using container = await Container.create({ command, limits: { pids: 64 }, init: false });
  await container.start();
  const [, , { exitCode }] = await Promise.all([container.pause(), container.stop(), container.wait()]);
  expect(exitCode).toBe(7);
});

test('how long it took is counted from its start', async () => {
  await using container = await Container.create({ command: ['true'] });
  await delay(1_000);
  await container.start();
  expect((await container.wait()).durationMs).toBeLessThan(1_000);
});

test('kill waits for nobody', async () => {
  const command = ['sh', '-c', 'trap "" TERM; while :; do sleep 0.02; done'];
  await using container = await Container.create({ command, init: false });
  await container.start();
  const stopping = container.stop({ timeout: 600_000 });
  await delay(20);
  await container.kill('SIGKILL');
  await stopping;
  expect((await container.wait()).signal).toBe('SIGKILL');
});

test('stop does not wait longer because a restart does', async () => {
  const command = ['sh', '-c', 'trap "" TERM; while :; do sleep 0.02; done'];
  await using container = await Container.create({ command, init: false });
  await container.start();
  for (const between of [0, 100]) {
    const restarting = container.restart({ timeout: 600_000 });
    await delay(between);
    await container.stop({ timeout: 0 });
    await restarting;
    expect(container.status).toBe('stopped');
    await container.start();
  }
  await Promise.all([container.restart({ timeout: 600_000 }), container.stop({ timeout: 0 })]);
  expect(container.status).toBe('stopped');
  await container.start();
  await Promise.all([container.restart({ timeout: 600_000 }), container.restart({ timeout: 0 })]);
  expect(container.status).toBe('running');
});

test('what was asked of a found one is done before it is let go, and who waits for its end is told', async () => {
  const command = ['sh', '-c', 'trap "" TERM; while :; do sleep 0.02; done'];
  await using container = await Container.create({ command, init: false });
  await container.start();
  const found = await Container.get(container.id);
  void found.stop({ timeout: 200 });
  await found[Symbol.asyncDispose]();
  expect((await container.wait()).signal).toBe('SIGKILL');
  await container.start();
  const another = await Container.get(container.id);
  const waiting = another.wait();
  await another[Symbol.asyncDispose]();
  await expect(waiting).rejects.toMatchObject({
    code: 'ERR_NS_CONTAINER_LEFT',
    hint: expect.stringContaining('get()'),
  });
  expect(container.status).toBe('running');
});

test('what another process has stopped does not start again by itself', async () => {
  using program = new NodeProgram(
    'stopping-hand',
    `
    import { once } from 'node:events';
    import { Container } from '@ns/core';
    console.log('ready');
    await once(process.stdin.resume(), 'end');
    await (await Container.get(process.argv[2])).stop();
  `,
  );
  await using container = await Container.create({ command: ['false'], restart: 'always' });
  const child = program.start([container.id]);
  await once(child.stdout, 'data');
  const runs: string[] = [];
  container.on('start', () => runs.push('start'));
  // A pause that is long enough to be met.
  const paused = new Promise<void>((resolve) => {
    container.on('restart', ({ delayMs }) => delayMs >= 800 && resolve());
  });
  await container.start();
  await paused;
  const before = runs.length;
  child.stdin.end();
  expect(await once(child, 'close')).toEqual([0, null]);
  await delay(2_000);
  expect(runs).toHaveLength(before);
  expect(container.status).toBe('stopped');
});

test('how it ended is what its maker says', async () => {
  const command = ['sh', '-c', 'until [ -e /go ]; do sleep 0.02; done; yes; true'];
  await using container = await Container.create({ command, maxOutput: { bytes: 1_000, onExceed: 'kill' } });
  await container.start();
  await using found = await Container.get(container.id);
  await container.exec('touch', ['/go'], { check: true });
  const [{ reason }] = await Promise.all([container.wait(), found.wait()]);
  expect(reason).toBe('output-limit');
  const stored = () => JSON.parse(readFileSync(join(dir, 'state/containers', container.id, 'state.json'), 'utf8'));
  expect(await eventually(() => stored().ending !== undefined)).toBe(true);
  await delay(100);
  expect(stored().ending.reason).toBe('output-limit');
});

test('only its maker restarts it, and nobody else stops it in trying to', async () => {
  await using container = await Container.create(sleeper);
  await container.start();
  await using found = await Container.get(container.id);
  await expect(found.restart()).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_NOT_OURS' });
  expect(container.status).toBe('running');
});

test('who waited before it was detached goes on waiting', async () => {
  using program = new NodeProgram(
    'waiting-for-detached',
    `
    import { Container } from '@ns/core';
    const container = await Container.create({ command: ['sleep', '0.5'], lifetime: { dieWithParent: false } });
    await container.start();
    const waiting = container.wait();
    container.detach();
    console.log((await waiting).reason);
    await container.remove();
  `,
  );
  expect(await program.run()).toEqual({ exitCode: 0, signal: null, stdout: 'exit\n', stderr: '' });
});

test('what a listener throws is not the failure of the container', async () => {
  using program = new NodeProgram(
    'throwing-listener',
    `
    import { Container } from '@ns/core';
    const thrown = [];
    process.on('uncaughtException', ({ message }) => thrown.push(message));
    const container = await Container.create({ command: ['false'], restart: 'on-failure:1' });
    for (const type of ['start', 'exit', 'remove']) container.on(type, () => { throw new Error(type); });
    await container.start();
    const ends = (async () => { for await (const event of container.events()) if (event.type === 'exit') return 'again'; })();
    console.log(await ends);
    await container.remove({ force: true });
    await new Promise(setImmediate);
    console.log([...new Set(thrown)].sort().join());
  `,
  );
  const child = program.start();
  let text = '';
  child.stdout.on('data', (data) => {
    text += data;
  });
  const [code] = await once(child, 'close');
  expect({ code, text }).toEqual({ code: 0, text: 'again\nexit,remove,start\n' });
});

test('who waits for the turn of another call has no more patience than he says', async () => {
  await using container = await Container.create({ command: ['sh', '-c', 'head -c 300M /dev/zero > /big'] });
  await container.start();
  await container.wait();
  let isCopying = true;
  const copying = container.copyOut('/big', join(dir, 'big')).finally(() => {
    isCopying = false;
  });
  await expect(container.diff({ timeout: 1 })).rejects.toMatchObject({ code: 'ERR_NS_TIMEOUT' });
  expect(isCopying).toBe(true);
  await copying;
});
