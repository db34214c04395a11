import { setTimeout as delay } from 'node:timers/promises';
import { Container, type ContainerEvent, Wait } from '@ns/core';
import { eventually, needs, notRoot } from '@ns/testing';

const test = needs(notRoot);

function record(container: Container): ContainerEvent[] {
  const seen: ContainerEvent[] = [];
  for (const type of ['start', 'exit', 'restart', 'health'] as const) container.on(type, (event) => seen.push(event));
  return seen;
}

test('health goes from starting to healthy to unhealthy, with events and the last output', async () => {
  await using c = await Container.create({
    command: ['sh', '-c', 'sleep 0.1; touch /tmp/ok; sleep infinity'],
    health: { command: 'echo looking; test -e /tmp/ok', interval: 20, retries: 2, startPeriod: 60_000 },
    wait: Wait.health({ timeout: 10_000 }),
  });
  const seen = record(c);
  expect(c.health).toBeUndefined();
  await c.start();
  expect(c.health).toMatchObject({ status: 'healthy', failures: 0, lastOutput: 'looking' });
  await c.exec('rm', ['/tmp/ok']);
  expect(await eventually(() => c.health?.status === 'unhealthy')).toBe(true);
  expect(seen.flatMap((event) => (event.type === 'health' ? [event.status] : []))).toEqual(['healthy', 'unhealthy']);
});

test('what has no room for its check is not well', async () => {
  await using c = await Container.create({
    command: ['sleep', 'infinity'],
    limits: { pids: 2 },
    health: { command: ['true'], interval: 5, retries: 2 },
  });
  await c.start();
  expect(await eventually(() => c.health?.status === 'unhealthy')).toBe(true);
  expect(c.health?.lastOutput).toMatch(/EAGAIN .*limits\.pids/);
  await expect(c.exec('true')).rejects.toMatchObject({
    code: 'ERR_NS_CONTAINER_START',
    errnoCode: 'EAGAIN',
    hint: expect.stringContaining('limits.pids'),
  });
});

test('unhealthy is an answer to waiting', async () => {
  await using c = await Container.create({
    command: ['sleep', 'infinity'],
    health: { command: ['sh', '-c', 'echo no database >&2; exit 1'], interval: 5, retries: 2 },
    wait: Wait.health(),
  });
  await expect(c.start()).rejects.toMatchObject({
    code: 'ERR_NS_WAIT_FAILED',
    message: expect.stringContaining('it is unhealthy (no database)'),
  });
});

test('a check that takes too long has failed, and leaves nothing running', async () => {
  await using c = await Container.create({
    command: ['sleep', 'infinity'],
    health: { command: ['sleep', '5'], timeout: 50, interval: 60_000, retries: 1 },
  });
  await c.start();
  expect(await eventually(() => c.health?.status === 'unhealthy')).toBe(true);
  expect((await c.processes()).filter(({ command }) => command.includes('5'))).toEqual([]);
});

const slowCheck = {
  command: 'echo under way > /tmp/check; sleep 0.3; echo over > /tmp/check',
  interval: 1,
  retries: 1,
};
const isUnderWay = async (c: Container) => (await c.exec('cat', ['/tmp/check'])).stdout === 'under way\n';

test('a check that is under way when its container is stopped, killed or ends is no verdict', async () => {
  const ends: ((c: Container) => PromiseLike<unknown>)[] = [
    (c) => c.stop({ timeout: 100 }),
    (c) => c.kill(),
    (c) => c.exec('touch', ['/tmp/end']),
    async (c) => (await Container.get(c.id)).stop(),
  ];
  for (const end of ends) {
    await using c = await Container.create({
      command: ['sh', '-c', 'until [ -e /tmp/end ]; do sleep 0.01; done'],
      health: slowCheck,
      wait: Wait.health(),
    });
    const seen = record(c);
    await c.start();
    expect(await eventually(() => isUnderWay(c))).toBe(true);
    await Promise.all([c.wait(), end(c)]);
    expect(seen.flatMap((event) => (event.type === 'health' ? [event.status] : []))).toEqual(['healthy']);
  }
});

test('nor is one that goes with what its program leaves behind, which takes its time to end', async () => {
  await using c = await Container.create({
    command: [
      'sh',
      '-c',
      '{ head -c 400M /dev/zero; touch /tmp/full; sleep 100; } | tail & until [ -e /tmp/end ]; do sleep 0.01; done',
    ],
    health: slowCheck,
    wait: Wait.health(),
  });
  const seen = record(c);
  await c.start();
  expect(await eventually(async () => (await c.exec('test', ['-e', '/tmp/full'])).exitCode === 0)).toBe(true);
  expect(await eventually(() => isUnderWay(c))).toBe(true);
  await Promise.all([c.wait(), c.exec('touch', ['/tmp/end'])]);
  expect(seen.flatMap((event) => (event.type === 'health' ? [event.status] : []))).toEqual(['healthy']);
});

test('nor is one in which its container was paused', async () => {
  await using c = await Container.create({
    command: ['sleep', 'infinity'],
    health: { ...slowCheck, timeout: 600 },
    wait: Wait.health(),
  });
  const seen = record(c);
  await c.start();
  expect(await eventually(() => isUnderWay(c))).toBe(true);
  await c.pause();
  await delay(800);
  await c.resume();
  await delay(1000);
  expect(c.health).toMatchObject({ status: 'healthy', failures: 0 });
  expect(seen.flatMap((event) => (event.type === 'health' ? [event.status] : []))).toEqual(['healthy']);
});

test('on-failure:2 starts it twice more, with growing pauses, keeping its files', async () => {
  await using c = await Container.create({
    command: ['sh', '-c', 'echo run >> /runs; cat /runs; exit 1'],
    restart: 'on-failure:2',
  });
  const seen = record(c);
  await c.start();
  expect(await eventually(() => seen.filter(({ type }) => type === 'exit').length === 3)).toBe(true);
  await delay(50);
  expect(seen.flatMap((event) => (event.type === 'restart' ? [[event.attempt, event.delayMs]] : []))).toEqual([
    [1, 100],
    [2, 200],
  ]);
  expect((await c.wait()).stdout).toBe('run\nrun\nrun\n');
  expect(c.status).toBe('stopped');
});

test('always restarts what ended well, until it is stopped', async () => {
  await using c = await Container.create({ command: ['sleep', '0.02'], restart: 'always' });
  const seen = record(c);
  const starts = () => seen.filter(({ type }) => type === 'start').length;
  await c.start();
  expect(await eventually(() => starts() >= 3)).toBe(true);
  await c.stop();
  const before = starts();
  await delay(500);
  expect(starts()).toBe(before);
  await c.start();
  expect(await eventually(() => starts() >= before + 2)).toBe(true);
});

test('what waits for its restart is killed, too', async () => {
  await using c = await Container.create({ command: ['false'], restart: 'always' });
  const seen = record(c);
  const due = () => seen.flatMap((event) => (event.type === 'restart' ? [event.delayMs] : [])).at(-1);
  await c.start();
  expect(await eventually(() => due() === 400)).toBe(true);
  await expect(c.kill('SIGTERM')).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_NOT_RUNNING' });
  await c.kill();
  await delay(600);
  expect([c.status, due()]).toEqual(['stopped', 400]);
  // Nothing is left to kill.
  await expect(c.kill()).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_NOT_RUNNING' });
});

test('what the user kills or removes stays dead', async () => {
  await using killed = await Container.create({ command: ['sleep', 'infinity'], restart: 'always' });
  const removed = await Container.create({ command: ['true'], restart: 'always' });
  const seen = record(killed);
  await killed.start();
  await removed.start();
  await killed.kill();
  await removed.remove({ force: true });
  await delay(300);
  expect(seen.map(({ type }) => type)).toEqual(['start', 'exit']);
  expect(removed.status).toBe('removed');
});
