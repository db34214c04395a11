import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { Cgroup } from '@ns/cgroups';
import { eventually, needs, notRoot, processEntries } from '@ns/testing';
import { readAccounts } from '../src/container-cgroup.ts';
import { Container, type Result } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';
import { NodeProgram } from './node-program.ts';

/* Several who operate on one container: its maker, and others who have found it. */

const test = needs(notRoot);
const root = useOwnStateRoot();
type Spec = Parameters<typeof Container.create>[0];

async function withTwo(spec: Partial<Spec>, use: (maker: Container, other: Container) => Promise<void>): Promise<void> {
  await leavesNothing(async () => {
    await using maker = await Container.create({ command: ['sleep', '600'], ...spec });
    await maker.start();
    await using other = await Container.get(maker.id);
    await use(maker, other);
  });
}

// Node opens its inotify, and the library the trees of cgroups, when they are first used.
beforeAll(async () => {
  if (notRoot) return;
  watch(tmpdir()).close();
  await using maker = await Container.create({ command: ['sleep', '600'] });
  await using _ = await Container.get(maker.id);
});

const stateFile = (id: string) => join(root.path, 'containers', id, 'state.json');
const stored = (id: string) => JSON.parse(readFileSync(stateFile(id), 'utf8'));

test('what one pauses is paused for all', () =>
  withTwo({ limits: { pids: 64 } }, async (maker, other) => {
    await other.pause();
    expect(maker.status).toBe('paused');
    await expect(maker.exec('true')).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_PAUSED' });
    await maker.resume();
    expect(other.status).toBe('running');
    expect((await other.exec('true')).exitCode).toBe(0);
  }));

test('what one changes, the other does not undo', () =>
  withTwo({ name: 'first', limits: { pids: 64, memory: '256MiB' } }, async (maker, other) => {
    await other.update({ limits: { memory: '64MiB' } });
    await maker.update({ limits: { pids: 32 } });
    await other.rename('second');
    await maker.pause();
    await maker.resume();
    expect(stored(maker.id)).toMatchObject({
      name: 'second',
      status: 'running',
      spec: { limits: { pids: 32, memory: '64MiB' } },
    });
    expect(maker.name).toBe('second');
    // The name it no longer has is free, and stays somebody else's when it goes.
    await using heir = await Container.create({ command: ['true'], name: 'first' });
    await maker.remove({ force: true });
    expect((await Container.get('first')).id).toBe(heir.id);
    await using _ = await Container.create({ command: ['true'], name: 'second' });
  }));

test('a name is free when its container has another one or is gone, whoever gave it', () =>
  withTwo({ name: 'one' }, async (maker, other) => {
    await maker.rename('two');
    await other.rename('three');
    await maker.remove({ force: true });
    // Too late.
    for (const late of [maker, other])
      await expect(late.rename('four')).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_REMOVED' });
    expect(readdirSync(join(root.path, 'names'))).toEqual([]);
  }));

test('only its maker starts it again, also in the moment of its end', () =>
  withTwo({ lifetime: { dieWithParent: false } }, async (maker, other) => {
    process.kill(maker.pid!, 'SIGKILL');
    const start = () =>
      other.start().then(
        () => 'started',
        ({ code }) => code,
      );
    let said = await start();
    for (; said === 'ERR_NS_CONTAINER_RUNNING'; said = await start()) await nextTurn();
    expect(said).toBe('ERR_NS_CONTAINER_NOT_OURS');
    expect(await maker.wait()).toMatchObject({ signal: 'SIGKILL' });
    await maker.start();
    expect(maker.status).toBe('running');
  }));

test('who hears of the end of a run when the next one has begun leaves what is said of that', () =>
  withTwo({}, async (maker) => {
    using program = new NodeProgram('waiting-hand');
    const hand = program.start([maker.id]);
    const ended = once(hand, 'close');
    const lines = createInterface(hand.stdout)[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe('found');
    hand.kill('SIGSTOP');
    const first = maker.wait();
    await maker.restart({ timeout: 0 });
    const now = stored(maker.id);
    expect(now).toMatchObject({ status: 'running', init: { pid: maker.pid } });
    hand.kill('SIGCONT');
    expect((await lines.next()).value).toBe((await first).signal);
    await ended;
    expect(stored(maker.id)).toEqual(now);
  }));

const untilGo = (rest: string) => ['sh', '-c', `until [ -e /go ]; do sleep 0.02; done; ${rest}`];

/** The output goes to its maker alone. */
const withoutOutput = ({ stdout: _, stderr: __, truncated: ___, ...end }: Result) => end;

const endings: [string, Partial<Spec>][] = [
  ['by itself', { command: untilGo('exit 3') }],
  ['to begin again', { command: untilGo('exit 3'), restart: 'always' }],
  ['without memory', { command: untilGo('exec tail /dev/zero'), limits: { memory: '16MiB' } }],
  ['with too much output', { command: untilGo('exec yes'), maxOutput: { bytes: 1000, onExceed: 'kill' } }],
  ['and may outlive its maker', { command: untilGo('exit 3'), lifetime: { dieWithParent: false }, restart: 'always' }],
];
for (const [how, spec] of endings)
  test(`who has found one that ends ${how} hears what its maker hears`, () =>
    withTwo(spec, async (maker, other) => {
      const waiting = [maker.wait(), other.wait()];
      await other.exec('touch', ['/go'], { check: true });
      const [known, heard] = (await Promise.all(waiting)).map(withoutOutput);
      expect(heard).toEqual(known);
    }));

test('who has found one hears how it was stopped, also when it runs again at once', () =>
  withTwo({}, async (maker, other) => {
    const ends = [maker.wait(), other.wait()];
    await maker.restart();
    expect((await Promise.all(ends)).map(({ signal, reason }) => [signal, reason])).toEqual([
      ['SIGTERM', 'signal'],
      ['SIGTERM', 'signal'],
    ]);
  }));

test('what only a maker knows who does not say it is not made up', async () => {
  using program = new NodeProgram(
    'silent-maker',
    `import { Container } from '@ns/core';
    const command = ['sh', '-c', 'until [ -e /go ]; do sleep 0.02; done; exit 3'];
    await using c = await Container.create({ command });
    await c.start();
    console.log(c.id);
    console.log((await c.wait()).exitCode);
    for await (const _ of process.stdin);`,
  );
  const maker = program.start();
  const ended = once(maker, 'close');
  const lines = createInterface(maker.stdout)[Symbol.asyncIterator]();
  const id = (await lines.next()).value as string;
  await using other = await Container.get(id);
  maker.kill('SIGSTOP');
  await other.exec('touch', ['/go'], { check: true });
  expect(await other.wait()).toMatchObject({ exitCode: null, signal: null, reason: 'exit' });
  expect(stored(id).ending).toBeUndefined();
  maker.kill('SIGCONT');
  expect((await lines.next()).value).toBe('3');
  await using again = await Container.get(id);
  expect(await again.wait()).toMatchObject({ exitCode: 3, signal: null, reason: 'exit' });
  maker.stdin.end();
  await ended;
});

test('the logs of one that somebody else has removed are empty, and bring nothing of it back', () =>
  withTwo({ lifetime: { dieWithParent: false } }, async (maker, other) => {
    await other.remove({ force: true });
    for await (const _ of maker.logs()) throw new Error('it says something');
    expect(existsSync(join(root.path, 'containers', maker.id))).toBe(false);
  }));

test('what a cgroup counted that somebody else has removed is missing', async () => {
  const cgroup = await Cgroup.create(`ns-accounts-${process.pid}`, { memory: { max: '64MiB' } });
  await using other = await Cgroup.open(cgroup.name);
  await cgroup[Symbol.asyncDispose]();
  const exit = {
    exitCode: null,
    signal: 'SIGKILL',
    timedOut: false,
    outputLost: false,
    failure: undefined,
    usage: undefined,
  } as const;
  expect(await readAccounts(exit, other)).toMatchObject({ oom: false, usage: { pidsPeak: undefined } });
});

describe.each([
  ['of a container with ids of its own', { idMap: 'auto' }],
  ['without an init', { idMap: 'auto', init: false }],
  ['with limits', { idMap: 'auto', limits: { pids: 64 } }],
  ['with a namespace that is not its own', { idMap: 'auto', namespaces: { ipc: 'host' } }],
  ['that has them by its namespace', { namespaces: { user: 'private' } }],
] as const)('commands and mounts %s', (_, spec) => {
  test('are for those who found it, too, and in its user namespace', () =>
    withTwo(spec, async (maker, other) => {
      const map = await maker.exec('cat', ['/proc/self/uid_map']);
      expect(map.stdout).toMatch(/^ +0 +[1-9]/);
      expect(await other.exec('cat', ['/proc/self/uid_map'])).toMatchObject({ exitCode: 0, stdout: map.stdout });
      await other.mount({ type: 'tmpfs', target: '/mnt' });
      expect((await other.exec('stat', ['-fc', '%T', '/mnt'])).stdout).toBe('tmpfs\n');
      await other.unmount('/mnt');
    }));
});

test('who stops it from elsewhere stops its restart policy, too', () =>
  withTwo({ restart: 'always' }, async (maker, other) => {
    const restarts: unknown[] = [];
    maker.on('restart', (event) => restarts.push(event));
    await other.stop({ timeout: 100 });
    await maker.wait();
    await delay(300);
    expect([restarts, maker.status, other.status]).toEqual([[], 'stopped', 'stopped']);
    // Until it is started again: then it restarts as before.
    await maker.start();
    process.kill(maker.pid!, 'SIGKILL');
    expect(await eventually(() => restarts.length > 0 && maker.status === 'running')).toBe(true);
  }));

test('what somebody has written already is not written again', () =>
  withTwo({}, async (maker, other) => {
    await other.stop({ timeout: 0 });
    await maker.wait();
    const { ino } = statSync(stateFile(maker.id));
    await maker.stop();
    await other.stop();
    expect(statSync(stateFile(maker.id)).ino).toBe(ino);
    expect(stored(maker.id)).toMatchObject({ status: 'stopped', stopRequested: true });
  }));

test('who removes it from elsewhere removes it for all', () =>
  withTwo({ restart: 'always', name: 'gone' }, async (maker, other) => {
    const events: string[] = [];
    const listening = (async () => {
      for await (const { type } of maker.events()) events.push(type);
    })();
    await delay(1);
    await other.remove({ force: true });
    await maker.wait();
    await delay(300);
    expect([maker.status, existsSync(stateFile(maker.id))]).toEqual(['removed', false]);
    await expect(maker.start()).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_REMOVED' });
    await maker.remove();
    await listening;
    expect(events).toEqual(['exit', 'remove']);
    expect(existsSync(join(root.path, 'containers', maker.id))).toBe(false);
  }));

describe.each(['stop', 'kill', 'remove'] as const)('who knows only the run before last can %s it', (end) => {
  test('all the same', () =>
    withTwo({ lifetime: { dieWithParent: false }, limits: { pids: 64 } }, async (maker, other) => {
      await maker.restart({ timeout: 100 });
      const pid = maker.pid!;
      expect(other.status).toBe('stopped');
      await ends[end](other);
      expect(existsSync(`/proc/${pid}`)).toBe(false);
      const status = end === 'remove' ? 'removed' : 'stopped';
      expect([await eventually(() => maker.status === status), other.status]).toEqual([true, status]);
      await maker.remove();
    }));
});

const ends = {
  stop: (container: Container) => container.stop({ timeout: 100 }),
  kill: (container: Container) => container.kill(),
  remove: (container: Container) => container.remove({ force: true }),
};

test(
  'processes and threads at once, on one container: no state is ever half, nothing is lost',
  () =>
    withTwo({ limits: { pids: 64, cpuShares: 64 } }, async (maker) => {
      using hand = new NodeProgram('other-hand');
      let reading = true;
      const reader = (async () => {
        for (; reading; await delay(1)) expect(stored(maker.id).id).toBe(maker.id);
      })();
      const others = hand.run([maker.id, '10']);
      for (let round = 1; round <= 10; round++) {
        await maker.update({ limits: { cpuShares: 100 + round } });
        await maker.pause();
        await maker.resume();
      }
      const { stdout, stderr, exitCode } = await others;
      reading = false;
      await reader;
      expect({ stdout, stderr, exitCode }).toEqual({ stdout: maker.id, stderr: '', exitCode: 0 });
      expect(stored(maker.id)).toMatchObject({ name: 'hand-10', spec: { limits: { pids: 110, cpuShares: 110 } } });
    }),
  60_000,
);

test('a container of an older version of the library is found, asked and ended', () =>
  withTwo({ lifetime: { dieWithParent: false } }, async (maker) => {
    const { stopRequested: _, ...older } = stored(maker.id);
    writeFileSync(stateFile(maker.id), JSON.stringify({ ...older, version: 1 }));
    const c = await Container.get(maker.id);
    expect((await c.exec('echo', ['still here'])).stdout).toBe('still here\n');
    expect(await Container.list({ status: 'running' })).toMatchObject([{ id: maker.id }]);
    await c.stop({ timeout: 100 });
    expect(stored(maker.id)).toMatchObject({ version: 2, status: 'stopped', stopRequested: true });
    await c.remove();
  }));

test('one of a newer version is left alone', () =>
  withTwo({}, async (maker) => {
    const state = stored(maker.id);
    writeFileSync(stateFile(maker.id), JSON.stringify({ ...state, version: 99 }));
    await expect(Container.get(maker.id)).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_NOT_FOUND' });
    expect(stored(maker.id).version).toBe(99);
    writeFileSync(stateFile(maker.id), JSON.stringify(state));
  }));

test('a name that another process has freed is not freed again when its first holder dies', async () => {
  using program = new NodeProgram('names-holder');
  const maker = program.start([]);
  const lines = createInterface(maker.stdout)[Symbol.asyncIterator]();
  expect(await lines.next()).toMatchObject({ value: 'made' });
  const last = await Container.get('last');
  await (await Container.get('removed')).remove({ force: true });
  expect(await lines.next()).toMatchObject({ value: 'heard' });
  await using _ = await Container.create({ command: ['true'], name: 'removed' });
  maker.kill('SIGKILL');
  // What is entrusted goes in the order in which it was.
  await eventually(() => !existsSync(join(root.path, 'containers', last.id)));
  expect(readdirSync(join(root.path, 'names'))).toContain('removed');
});

test('a name that was freed by renaming, and taken by somebody else, stays his when its first holder dies', async () => {
  using program = new NodeProgram('names-holder');
  const maker = program.start([]);
  const lines = createInterface(maker.stdout)[Symbol.asyncIterator]();
  expect(await lines.next()).toMatchObject({ value: 'made' });
  const renamed = await Container.get('removed');
  await renamed.rename('again');
  await using heir = await Container.create({ command: ['true'], name: 'removed' });
  const pids = processEntries().filter(({ parent }) => parent === maker.pid);
  maker.kill('SIGKILL');
  const isThere = ({ pid, name }: { pid: number; name: string }) =>
    processEntries().some((one) => one.pid === pid && one.name === name);
  expect(await eventually(() => !pids.some(isThere))).toBe(true);
  expect(existsSync(join(root.path, 'containers', renamed.id))).toBe(false);
  expect(readlinkSync(join(root.path, 'names', 'removed'))).toContain(heir.id);
  // Though who gave it lives.
  await using _ = await Container.create({ command: ['true'], name: 'again' });
});
