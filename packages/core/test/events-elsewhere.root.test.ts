import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually, needs, notRoot } from '@ns/testing';
import { Container } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';
import { NodeProgram } from './node-program.ts';

/* What happens to a container is told to all who listen, whoever did it. */

const test = needs(notRoot);
useOwnStateRoot();
type Spec = Parameters<typeof Container.create>[0];

/** Who made a container, and who has found it. */
async function withTwo(spec: Partial<Spec>, use: (maker: Container, other: Container) => Promise<void>): Promise<void> {
  await leavesNothing(async () => {
    await using maker = await Container.create({ command: ['sleep', '600'], ...spec });
    await maker.start();
    await using other = await Container.get(maker.id);
    await use(maker, other);
  });
}

// The library opens the trees of cgroups when they are first used.
beforeAll(async () => {
  if (notRoot) return;
  await using maker = await Container.create({ command: ['sleep', '600'] });
  await using _ = await Container.get(maker.id);
});

/** Types of the events from now on, until the last. */
async function typesOf(container: Container): Promise<string[]> {
  const types: string[] = [];
  for await (const { type } of container.events()) types.push(type);
  return types;
}

/** The same until somebody stops listening. */
function heardBy(container: Container): string[] {
  const types: string[] = [];
  for (const type of ['start', 'oom', 'pause', 'resume', 'exit', 'remove'] as const)
    container.on(type, () => types.push(type));
  return types;
}

test('each hears once of what either does', () =>
  withTwo({ limits: { pids: 64 } }, async (maker, other) => {
    const all = [heardBy(maker), heardBy(other), heardBy(other)];
    const expected: string[] = [];
    for (const [one, two] of [
      [maker, other],
      [other, maker],
    ] as const) {
      for (const [type, act] of [
        ['pause', () => one.pause()],
        ['resume', () => two.resume()],
        ['pause', () => two.pause()],
        ['resume', () => two.resume()],
      ] as const) {
        await act();
        expected.push(type);
        expect(await eventually(() => all.every((types) => types.length >= expected.length))).toBe(true);
      }
      await one.rename(`by-${expected.length}`);
    }
    await delay(100);
    expect(all).toEqual(all.map(() => expected));
  }));

test('whoever finds it before its start hears of that, and of each later one', async () => {
  await leavesNothing(async () => {
    await using maker = await Container.create({ command: ['sleep', '600'], hostname: 'started' });
    await using other = await Container.get(maker.id);
    expect(other.status).toBe('created');
    const pids: number[] = [];
    const types = heardBy(other);
    other.on('start', ({ pid }) => pids.push(pid));
    for (let run = 1; run <= 3; run++) {
      await maker.start();
      expect(await eventually(() => types.length === 2 * run - 1)).toBe(true);
      expect(pids.at(-1)).toBe(maker.pid);
      expect([other.status, other.pid]).toEqual(['running', maker.pid]);
      expect((await other.exec('hostname')).stdout).toBe('started\n');
      await maker.stop({ timeout: 0 });
      expect(await eventually(() => types.length === 2 * run)).toBe(true);
    }
    expect(types).toEqual(['start', 'exit', 'start', 'exit', 'start', 'exit']);
  });
});

test('whoever found it before its start need not listen to use it then, and after each restart', async () => {
  await leavesNothing(async () => {
    await using maker = await Container.create({
      command: ['sleep', '600'],
      hostname: 'started',
      limits: { pids: 20 },
    });
    await using other = await Container.get(maker.id);
    for (let run = 1; run <= 2; run++) {
      await maker.start();
      const [{ stdout }, processes, { pids }] = await Promise.all([
        other.exec('hostname'),
        other.processes(),
        other.stats(),
      ]);
      expect(stdout).toBe('started\n');
      expect(processes[0]).toMatchObject({ hostPid: maker.pid });
      expect(pids?.current).toBeGreaterThan(0);
      expect(other.status).toBe('running');
      await maker.stop({ timeout: 0 });
    }
  });
});

test('one that was paused before somebody listened is not paused again', () =>
  withTwo({ limits: { pids: 64 } }, async (maker, other) => {
    await other.pause();
    const all = [heardBy(maker), heardBy(other)];
    await maker.rename('paused');
    await delay(100);
    await other.resume();
    expect(await eventually(() => all.every((types) => types.length > 0))).toBe(true);
    expect(all).toEqual([['resume'], ['resume']]);
  }));

test('whoever has found it hears that memory ran out', () =>
  withTwo({ limits: { memory: '64MiB' } }, async (maker, other) => {
    const all = [heardBy(maker), heardBy(other)];
    expect(await maker.exec('tail', ['/dev/zero'])).toMatchObject({ reason: 'oom' });
    expect(await eventually(() => all.every((types) => types.includes('oom')))).toBe(true);
  }));

for (const [what, end] of [
  ['its maker', (maker: Container, _: Container) => maker.remove({ force: true })],
  ['another', (_: Container, other: Container) => other.remove({ force: true })],
] as const)
  test(`all hear of the end, and then of the removal by ${what}`, () =>
    withTwo({}, async (maker, other) => {
      await using third = await Container.get(maker.id);
      const all = [maker, other, third].map(typesOf);
      await delay(1);
      await end(maker, other);
      expect(await Promise.all(all)).toEqual(all.map(() => ['exit', 'remove']));
      expect([maker, other, third].map(({ status }) => status)).toEqual(['removed', 'removed', 'removed']);
    }));

test('its maker hears that one that had ended was removed, and who listens too late is not kept waiting', () =>
  withTwo({}, async (maker, other) => {
    await maker.kill();
    const heard = typesOf(maker);
    await delay(1);
    await other.remove();
    expect(await heard).toEqual(['remove']);
    await using late = await Container.create({ command: ['sleep', '600'] });
    await late.start();
    await using found = await Container.get(late.id);
    await late.remove({ force: true });
    expect(await eventually(() => found.status !== 'running')).toBe(true);
    await typesOf(found);
    expect(found.status).toBe('removed');
  }));

/** Directories whose changes the kernel tells this process. */
const watched = () =>
  readdirSync('/proc/self/fdinfo')
    .map((fd) => (existsSync(`/proc/self/fdinfo/${fd}`) ? readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8') : ''))
    .join('')
    .match(/^inotify wd:/gm)?.length ?? 0;

test('who has stopped listening, or has left it, holds nothing any more', () =>
  withTwo({ limits: { memory: '64MiB' } }, async (maker) => {
    const before = watched();
    const listener = () => {};
    maker.on('pause', listener);
    expect(watched()).toBe(before + 1);
    maker.off('pause', listener);
    const events = maker.events()[Symbol.asyncIterator]();
    const next = events.next();
    await maker.pause();
    await next;
    await events.return?.();
    {
      await using found = await Container.get(maker.id);
      found.on('oom', listener);
      expect(watched()).toBe(before + 1);
    }
    expect(watched()).toBe(before);
  }));

test('listeners alone keep no process alive', async () => {
  await using maker = await Container.create({ command: ['sleep', '600'], limits: { memory: '64MiB' } });
  await maker.start();
  using program = new NodeProgram(
    'listener',
    `import { Container } from '@ns/core';
    const found = await Container.get(process.argv[2]);
    for (const type of ['oom', 'pause', 'resume', 'exit', 'remove']) found.on(type, () => {});
    console.log(found.status);`,
  );
  expect(await program.run([maker.id])).toMatchObject({ exitCode: 0, stdout: 'running\n', stderr: '' });
});
