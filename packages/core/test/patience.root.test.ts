import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, needs, notRoot } from '@ns/testing';
import { Container, Network, type Patience, Pool, probe, prune, Volume, Wait } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* Calls that may take long, and callers who do not wait that long. */

const rootTest = needs(notRoot);
useOwnStateRoot();
const command = ['sleep', 'infinity'];
const reason = new Error('enough');
const aborted = { signal: AbortSignal.abort(reason) };

let directory: string;
const copied = () => join(directory, 'copied');
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'core-test-'));
  writeFileSync(join(directory, 'file'), 'content');
});
afterAll(() => rmSync(directory, { recursive: true }));

/** Each public call by name, on what `begin` has made. */
type Subjects = { container: Container; network: Network; volume: Volume; pool: Pool };
type Calls<Given> = Readonly<Record<string, (subjects: Subjects, patience: Patience) => Given>>;

const promises: Calls<Promise<unknown>> = {
  'Container.create': (_, patience) => Container.create({ command }, patience),
  'Container.restore': (_, patience) => Container.restore({ directory: '/nowhere', ...patience }),
  'Container.get': ({ container }, patience) => Container.get(container.id, patience),
  'Container.list': (_, patience) => Container.list({}, patience),
  'containers, beside the filter': (_, patience) => Container.list({ labels: {}, ...patience }),
  'container.start': ({ container }, patience) => container.start(patience),
  'container.wait': ({ container }, patience) => container.wait(patience),
  'container.kill': ({ container }, patience) => container.kill('SIGKILL', patience),
  'container.stop': ({ container }, patience) => container.stop({}, patience),
  'container.restart': ({ container }, patience) => container.restart({ timeout: 1 }, patience),
  'container.pause': ({ container }, patience) => container.pause(patience),
  'container.resume': ({ container }, patience) => container.resume(patience),
  'container.update': ({ container }, patience) => container.update({ mounts: { remove: ['/a'] } }, patience),
  'container.stats': ({ container }, patience) => container.stats(patience),
  'container.processes': ({ container }, patience) => container.processes(patience),
  'container.diff': ({ container }, patience) => container.diff(patience),
  'container.apply': ({ container }, patience) => container.apply(directory, patience),
  'container.discard': ({ container }, patience) => container.discard(patience),
  'container.commit': ({ container }, patience) => container.commit(directory, patience),
  'container.checkpoint': ({ container }, patience) => container.checkpoint({ directory, ...patience }),
  'container.fork': ({ container }, patience) => container.fork(2, {}, patience),
  'container.copyIn': ({ container }, patience) => container.copyIn(join(directory, 'file'), '/tmp/file', patience),
  'container.copyOut': ({ container }, patience) => container.copyOut('/etc/hostname', copied(), patience),
  'container.mount': ({ container }, patience) => container.mount({ type: 'tmpfs', target: '/mnt' }, patience),
  'container.unmount': ({ container }, patience) => container.unmount('/mnt', patience),
  'container.remove': ({ container }, patience) => container.remove({ force: true, ...patience }),
  'Network.create': (_, patience) => Network.create({ name: 'other' }, patience),
  'Network.get': (_, patience) => Network.get('quiet', patience),
  'Network.list': (_, patience) => Network.list(patience),
  'network.inspect': ({ network }, patience) => network.inspect(patience),
  'network.connect': ({ network, container }, patience) => network.connect(container, {}, patience),
  'network.disconnect': ({ network, container }, patience) => network.disconnect(container, patience),
  'network.update': ({ network }, patience) => network.update({ egress: { default: 'deny' } }, patience),
  'network.remove': ({ network }, patience) => network.remove(patience),
  'network.close': ({ network }, patience) => network.close(patience),
  'Volume.create': (_, patience) => Volume.create({ name: 'other' }, patience),
  'Volume.get': (_, patience) => Volume.get('data', patience),
  'Volume.list': (_, patience) => Volume.list({}, patience),
  'volumes, beside the filter': (_, patience) => Volume.list({ labels: {}, ...patience }),
  'volume.inspect': ({ volume }, patience) => volume.inspect(patience),
  'volume.remove': ({ volume }, patience) => volume.remove(patience),
  'Pool.create': (_, patience) => Pool.create({ size: 1 }, patience),
  'pool.acquire': ({ pool }, patience) => pool.acquire(patience),
  'pool.settled': ({ pool }, patience) => pool.settled(patience),
  'pool.close': ({ pool }, patience) => pool.close(patience),
  probe: (_, patience) => probe(patience),
  prune: (_, patience) => prune(patience),
};

/** Those that give something to read. */
const readings: Calls<AsyncIterable<unknown>> = {
  'container.stats': ({ container }, patience) => container.stats({ interval: 1, ...patience }),
  'container.logs': ({ container }, patience) => container.logs({ follow: true, ...patience }),
  'container.events': ({ container }, patience) => container.events(patience),
  'container.diffStream': ({ container }, patience) => container.diffStream(patience),
  'container.export': ({ container }, patience) => container.export({ exclude: (path) => path !== '', ...patience }),
};

/** Patience of these is about the command, or for how long it may go on in good order: tested with the others of their kind. */
const commands = ['container.exec', 'pool.run', 'pool.drain'];
/** Nothing is waited for. */
const immediate = [
  ...['Container.explain', 'container.explain', 'container.rename', 'container.attach', 'container.resize'],
  ...['container.on', 'container.off', 'container.detach', 'network.toJSON'],
];

test('every public call has its patience, or needs none', () => {
  const classes = { Container, Network, Volume, Pool };
  const isCall = (of: object, name: string) =>
    !['constructor', 'length', 'name', 'prototype'].includes(name) &&
    typeof Object.getOwnPropertyDescriptor(of, name)?.value === 'function';
  const callsOf = (of: object) => Object.getOwnPropertyNames(of).filter((name) => isCall(of, name));
  const all = Object.entries(classes).flatMap(([name, { prototype }]) => [
    ...callsOf(classes[name as keyof typeof classes]).map((call) => `${name}.${call}`),
    ...callsOf(prototype).map((call) => `${name.toLowerCase()}.${call}`),
  ]);
  const known = new Set([...Object.keys(promises), ...Object.keys(readings), ...commands, ...immediate]);
  expect([...known].filter((name) => name.includes('.')).sort()).toEqual(all.sort());
});

rootTest('nothing begins for somebody who has given up, and unknown patience is refused by name', async () => {
  await using container = await Container.create({ command });
  await container.start();
  await using volume = await temporaryVolume('data');
  await using network = await Network.create({ name: 'quiet', egress: { default: 'allow' } });
  await using pool = await Pool.create({ size: 1 });
  const subjects = { container, network, volume, pool };
  const before = readFileSync(`/proc/${container.pid}/mountinfo`, 'utf8');
  const outcomes: Record<string, unknown> = {};
  for (const [name, call] of Object.entries(promises)) {
    outcomes[name] = await call(subjects, aborted).catch((error) => error);
    await expect(call(subjects, { timeout: 'long' } as never)).rejects.toMatchObject({ field: 'timeout' });
    await expect(call(subjects, { timeout: -1 })).rejects.toMatchObject({ field: 'timeout' });
    await expect(call(subjects, { signal: 'x' } as never)).rejects.toMatchObject({ field: 'signal' });
  }
  expect(outcomes).toEqual(Object.fromEntries(Object.keys(promises).map((name) => [name, reason])));
  expect(container.status).toBe('running');
  expect(readFileSync(`/proc/${container.pid}/mountinfo`, 'utf8')).toBe(before);
  expect(existsSync(copied())).toBe(false);
  expect((await Container.list()).length).toBe(1);
  expect((await Volume.list()).map(({ name }) => name)).toEqual(['data']);
  expect((await Network.list()).map(({ name }) => name)).toEqual(['quiet']);
  expect(pool.state).toEqual({ ready: 1, claimed: 0, waiting: 0, making: 0 });
});

rootTest('who has given up, or does so meanwhile, reads nothing more', async () => {
  await using container = await Container.create({ command });
  await container.start();
  const subjects = { container } as Subjects;
  for (const [name, call] of Object.entries(readings)) {
    const read = async (patience: Patience) => {
      for await (const _ of call(subjects, patience));
    };
    expect([name, await read(aborted).catch((error) => error)]).toEqual([name, reason]);
    await expect(read({ timeout: -1 })).rejects.toMatchObject({ field: 'timeout' });
    if (['container.diffStream', 'container.export'].includes(name)) continue;
    await expect(read({ timeout: 20 })).rejects.toMatchObject({ code: 'ERR_NS_TIMEOUT' });
    const controller = new AbortController();
    const reading = read({ signal: controller.signal, timeout: 60_000 });
    setTimeout(() => controller.abort(reason), 20);
    await expect(reading).rejects.toBe(reason);
  }
});

rootTest('an archive that takes too long is broken off', async () => {
  await using container = await Container.create({ command, rootfs: '/' });
  await container.start();
  await expect(container.export({ timeout: 50 }).toArray()).rejects.toMatchObject({ code: 'ERR_NS_TIMEOUT' });
  const archive = container.diffStream({ timeout: 60_000 });
  // Read to its end it is whole, and nobody waits for the time.
  expect((await archive.toArray()).length).toBeGreaterThan(0);
});

rootTest('kill: the signal is sent all the same; mount: what comes too late is taken away', async () => {
  await using container = await Container.create({
    command: ['sh', '-c', 'trap "echo heard" USR1; echo up; while :; do sleep 0.01; done'],
  });
  await container.start();
  await expect(container.mount({ type: 'tmpfs', target: '/mnt' }, { timeout: 0 })).rejects.toMatchObject({
    code: 'ERR_NS_TIMEOUT',
  });
  expect(readFileSync(`/proc/${container.pid}/mountinfo`, 'utf8')).not.toContain(' /mnt ');
  const ended = container.wait();
  await expect(container.kill('SIGKILL', { timeout: 0 })).rejects.toMatchObject({ code: 'ERR_NS_TIMEOUT' });
  expect(await ended).toMatchObject({ signal: 'SIGKILL' });
});

rootTest('a pool that takes too long to make is gone', async () => {
  await leavesNothing(() =>
    expect(Pool.create({ size: 3 }, { timeout: 0 })).rejects.toMatchObject({ code: 'ERR_NS_TIMEOUT' }),
  );
});

rootTest('stop: the program is ended all the same', async () => {
  await using container = await Container.create({
    command: ['sh', '-c', 'trap "" TERM; echo up; sleep 600'],
    wait: Wait.log('up'),
  });
  await container.start();
  const ended = container.wait();
  await expect(container.stop({ timeout: 200 }, { timeout: 20 })).rejects.toMatchObject({ code: 'ERR_NS_TIMEOUT' });
  expect(await ended).toMatchObject({ signal: 'SIGKILL' });
});

rootTest('fork, and networks and volumes that are being made: none of them is left', async () => {
  await using container = await Container.create({ command });
  await container.start();
  const late = { code: 'ERR_NS_TIMEOUT' };
  await expect(container.fork(5, {}, { timeout: 0 })).rejects.toMatchObject(late);
  await expect(Network.create({ name: 'late' }, { timeout: 0 })).rejects.toMatchObject(late);
  expect((await Container.list()).map(({ id }) => id)).toEqual([container.id]);
  expect(await Network.list()).toEqual([]);
});

rootTest('one fork that cannot be made takes the others along', async () => {
  await using container = await Container.create({ command });
  await container.start();
  await expect(container.fork(3, { name: 'only-one' })).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_EXISTS' });
  expect((await Container.list()).map(({ id }) => id)).toEqual([container.id]);
});

rootTest('a copy that takes too long stops', async () => {
  await using container = await Container.create({ command });
  await container.start();
  await container.exec('sh', ['-c', 'mkdir /tmp/many; seq 20000 | (cd /tmp/many; xargs touch)'], { check: true });
  const target = join(directory, 'many');
  await expect(container.copyOut('/tmp/many', target, { timeout: 10 })).rejects.toMatchObject({
    code: 'ERR_NS_TIMEOUT',
  });
  rmSync(target, { recursive: true, force: true });
  // Nobody goes on copying.
  expect(await eventually(() => existsSync(target), 100)).toBe(false);
});

async function temporaryVolume(name: string): Promise<Volume & AsyncDisposable> {
  const volume = await Volume.create({ name });
  return Object.assign(volume, { [Symbol.asyncDispose]: () => volume.remove() });
}
