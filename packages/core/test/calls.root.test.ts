import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, needs, notRoot } from '@ns/testing';
import { Container, Network, Pool, prune, run, Volume } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* Calls with options nobody knows and values of wrong kinds, as they come from JavaScript and from JSON. */

const rootTest = needs(notRoot);
useOwnStateRoot();
const command = ['sleep', 'infinity'];
const tmpfs = { type: 'tmpfs', target: '/mnt/a' };

/** As JavaScript sees it: everything can be called with anything. */
type Untyped = Readonly<Record<string, (...args: readonly unknown[]) => Promise<unknown>>>;
type Call = (container: Untyped) => unknown;
const untyped = (value: unknown) => value as Untyped;

rootTest('every call refuses wrong options by name, and the container runs on', async () => {
  await using container = await Container.create({ command });
  await container.start();
  await using network = await Network.create({ name: 'untyped', ipv6: false });
  await using pool = await Pool.create({ size: 1 });
  const wrong: readonly (readonly [field: string, call: Call])[] = [
    ['al', (c) => c.kill!('SIGCONT', { al: true })],
    ['signal', (c) => c.kill!(9)],
    ['signal', (c) => c.kill!('KILL')],
    ['timout', (c) => c.stop!({ timout: 1 })],
    ['timeout', (c) => c.stop!({ timeout: 'soon' })],
    ['timeout', (c) => c.stop!({ timeout: -1 })],
    ['signal', (c) => c.stop!({ signal: 'SIGFOO' })],
    ['timeot', (c) => c.restart!({ timeot: 1 })],
    ['forc', (c) => c.remove!({ forc: true })],
    ['limts', (c) => c.update!({ limts: {} })],
    ['options', (c) => c.update!()],
    ['limits', (c) => c.update!({ limits: 5 })],
    ['egress', (c) => c.update!({ egress: null })],
    ['bandwidth', (c) => c.update!({ bandwidth: [] })],
    ['limits.memory', (c) => c.update!({ limits: { memory: 'x' } })],
    ['limits.memory', (c) => c.update!({ limits: { memory: 512 } })],
    ['mounts.add[1].target', (c) => c.update!({ mounts: { add: [tmpfs, { ...tmpfs, target: '' }] } })],
    ['mounts.add[1].target', (c) => c.update!({ mounts: { add: [tmpfs, tmpfs] } })],
    ['name', (c) => c.rename!()],
    ['name', (c) => c.rename!('a b')],
    ['usr', (c) => c.exec!('true', [], { usr: 1 })],
    ['command[0]', (c) => c.exec!()],
    ['folow', (c) => c.logs!({ folow: true })],
    ['tail', (c) => c.logs!({ tail: -1 })],
    ['since', (c) => c.logs!({ since: 'yesterday' })],
    ['interval', (c) => c.stats!({ interval: 0 })],
    ['interval', (c) => c.stats!({ intervall: 5, interval: 'x' })],
    ['columns', (c) => c.resize!({ columns: -1, rows: 1 })],
    ['count', (c) => c.fork!(-1)],
    ['from', (c) => c.copyIn!()],
    ['to', (c) => c.copyOut!('/etc/hostname', 'a\0b')],
    ['options', (c) => c.copyOut!('/etc/hostname', '/nowhere', null)],
    ['privilege', (c) => c.copyOut!('/etc/hostname', '/nowhere', { privilege: 'drop' })],
    ['ownership', (c) => c.copyIn!('/etc/hostname', '/nowhere', { ownership: 'kepp' })],
    ['privileges', (c) => c.apply!('/nowhere', { privileges: 'drp' })],
    ['select', (c) => c.apply!('/nowhere', { select: 'x' })],
    ['exclud', (c) => c.export!({ exclud: () => true })],
    ['exclude', (c) => c.export!({ exclude: 'x' })],
    ['spec', (c) => c.fork!(1, 'nonsense')],
    ['target', (c) => c.apply!()],
    ['target', (c) => c.apply!('')],
    ['options', (c) => c.apply!('/nowhere', null)],
    ['store', (c) => c.commit!('')],
    ['store', (c) => c.commit!({ path: '/nowhere' })],
    ['target', (c) => c.unmount!()],
    ['options', (c) => c.export!(null)],
    ['timeout', (c) => c.wait!({ timeout: '1s' })],
    ['sgnal', () => untyped(Container).create!({ command }, { sgnal: 1 })],
    ['label', () => untyped(Container).list!({ label: { a: 'b' } })],
    ['labels', () => untyped(Container).list!({ labels: ['a=b'] })],
    ['options', () => untyped(Network).create!()],
    ['idOrName', () => untyped(Container).get!(Symbol('name'))],
    ['idOrName', () => untyped(Container).get!('x'.repeat(129))],
    ['name', () => untyped(Network).get!(null)],
    ['container', () => untyped(network).connect!()],
    ['container.id', () => untyped(network).disconnect!({ id: 5 })],
    ['options', () => untyped(Volume).list!(null)],
    ['options', () => untyped(pool).run!('true', [], null)],
  ];
  const fields = await Promise.all(
    wrong.map(async ([, call]) => {
      try {
        await call(untyped(container));
        return 'accepted';
      } catch (error) {
        return (error as { field?: string }).field ?? String(error);
      }
    }),
  );
  expect(fields).toEqual(wrong.map(([field]) => field));
  expect(container.status).toBe('running');
});

rootTest('exec refuses as a promise, as run does', async () => {
  await using container = await Container.create({ command });
  const refused: Promise<unknown>[] = [
    untyped(container).exec!('true', [], { usr: 1 }).catch((error: Error) => error),
    untyped({ run }).run!('true', [], { usr: 1 }).catch((error: Error) => error),
  ];
  for (const error of await Promise.all(refused))
    expect(error).toMatchObject({ code: 'ERR_NS_INVALID_SPEC', field: 'usr' });
});

rootTest('who waits for the begin of what cannot begin is told why', async () => {
  await using container = await Container.create({ command });
  await container.start();
  for (const process of [run('/no/such'), container.exec('/no/such')]) {
    await expect(process.started).rejects.toMatchObject({ code: 'ERR_NS_COMMAND_NOT_FOUND', exitCode: 127 });
    expect(await process).toMatchObject({ exitCode: 127 });
  }
});

rootTest('an aborted command with check is a failure, also before it began', async () => {
  await expect(run('true', [], { check: true, signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: 'ERR_NS_PROCESS_FAILED',
    reason: 'abort',
  });
});

rootTest('patience ends; what was started goes on, what was being made is removed', async () => {
  await using container = await Container.create({ command, wait: { kind: 'log', pattern: 'never' } });
  await expect(container.start({ timeout: 50 })).rejects.toMatchObject({ code: 'ERR_NS_TIMEOUT' });
  expect(await eventually(() => container.status === 'running')).toBe(true);
  await expect(container.wait({ timeout: 20 })).rejects.toMatchObject({ code: 'ERR_NS_TIMEOUT' });
  const reason = new Error('enough');
  await expect(container.wait({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  await container.kill();
  expect(await container.wait({ timeout: 10_000 })).toMatchObject({ signal: 'SIGKILL' });
  await expect(Container.create({ command }, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  expect(await Container.list()).toHaveLength(1);
});

rootTest('list takes one state or several', async () => {
  await using made = await Container.create({ command });
  await using started = await Container.create({ command });
  await started.start();
  const ids = async (filter: Parameters<typeof Container.list>[0]) =>
    (await Container.list(filter)).map(({ id }) => id).toSorted();
  expect(await ids({ status: 'running' })).toEqual([started.id]);
  expect(await ids({ status: ['created', 'running'] })).toEqual([made.id, started.id].toSorted());
});

rootTest('events are heard from the call on, not from the first one that is asked for', async () => {
  const container = await Container.create({ command });
  const events = container.events();
  await container.start();
  await container.remove({ force: true });
  const types: string[] = [];
  for await (const { type } of events) types.push(type);
  expect(types).toEqual(['start', 'exit', 'remove']);
});

rootTest('a relative path of the host is one from the working directory', async () => {
  await using container = await Container.create({ command });
  await container.start();
  const directory = mkdtempSync(join(tmpdir(), 'core-calls-'));
  const before = process.cwd();
  process.chdir(directory);
  try {
    await container.copyOut('/etc/passwd', 'copied');
    await container.copyIn('copied', '/srv/back');
    expect(readFileSync(join(directory, 'copied'))).toEqual(readFileSync('/etc/passwd'));
    expect((await container.exec('cmp', ['/srv/back', '/etc/passwd'])).exitCode).toBe(0);
    // Of a directory, what is in it.
    await container.copyIn('.', '/srv/all');
    expect((await container.exec('ls', ['/srv/all'])).stdout).toBe('copied\n');
  } finally {
    process.chdir(before);
    rmSync(directory, { recursive: true });
  }
});

rootTest('listeners of nothing are refused', async () => {
  await using container = await Container.create({ command });
  for (const call of ['on', 'off']) {
    const refused = (event: unknown, listener: unknown) => expect(() => untyped(container)[call]!(event, listener));
    refused('exti', () => {}).toThrow(expect.objectContaining({ field: 'event', hint: "Did you mean 'exit'?" }));
    for (const event of [undefined, Symbol('exit'), ['exit'], 'newListener', '__proto__'])
      refused(event, () => {}).toThrow(expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', field: 'event' }));
    refused('exit', 'then').toThrow(expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', field: 'listener' }));
  }
});

rootTest('what comes or can be had once says so the second time', async () => {
  const process = run('echo', ['once']);
  for await (const _ of process);
  await expect(process[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    code: 'ERR_NS_ALREADY_ITERATED',
    hint: expect.any(String),
  });
  expect(() => process.stdin).toThrow(expect.objectContaining({ code: 'ERR_NS_NO_STDIN', hint: expect.any(String) }));
});

rootTest('published ports without a network leave no directory behind', async () => {
  const container = await Container.create({ command, ports: ['127.0.0.1::80'] });
  await container.remove({ force: true });
  const leases = join(process.env.NS_STATE_ROOT!, 'ipam');
  expect(existsSync(leases) ? readdirSync(leases) : []).toEqual([]);
});

rootTest('pausing, resuming, committing and discarding do not begin for somebody who has given up', async () => {
  await using container = await Container.create({ command });
  await container.start();
  const signal = AbortSignal.abort(new Error('changed my mind'));
  await expect(container.pause({ signal })).rejects.toThrow('changed my mind');
  expect(container.status).toBe('running');
  await container.pause({ timeout: 60_000 });
  await expect(container.resume({ signal })).rejects.toThrow('changed my mind');
  expect(container.status).toBe('paused');
  await container.resume();
  await expect(container.commit('/nowhere', { signal })).rejects.toThrow('changed my mind');
  await expect(container.discard({ signal })).rejects.toThrow('changed my mind');
  await expect(prune({ signal })).rejects.toThrow('changed my mind');
  await expect(container.pause({ timeOut: 1 } as never)).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
});

rootTest('what is called on one container keeps its order, while others have much to do', () =>
  leavesNothing(async () => {
    await using container = await Container.create({ command: ['sleep', 'infinity'] });
    await container.start();
    const busy = Array.from({ length: 8 }, () => run('true'));
    const execs = Array.from({ length: 6 }, () => container.exec('true'));
    const paused = container.pause();
    await paused;
    expect(container.status).toBe('paused');
    await container.resume();
    expect((await Promise.all(execs)).map(({ exitCode }) => exitCode)).toEqual([0, 0, 0, 0, 0, 0]);
    const names = ['one', 'two', 'three'].map((name) => `${name}-${process.pid}`);
    await Promise.all(names.map((name) => container.rename(name)));
    expect(container.name).toBe(names.at(-1));
    await Promise.all(busy);
  }),
);
