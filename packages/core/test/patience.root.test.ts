import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, needs, notRoot } from '@ns/testing';
import { Container, Network, type Patience, probe, Volume } from '../src/index.ts';
import { useOwnStateRoot } from './leaves-nothing.ts';

/* Calls that may take long, and callers who do not wait that long. */

const rootTest = needs(notRoot);
useOwnStateRoot();
const command = ['sleep', 'infinity'];
const reason = new Error('enough');
const aborted = { signal: AbortSignal.abort(reason) };

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'core-test-'));
  writeFileSync(join(directory, 'file'), 'content');
});
afterAll(() => rmSync(directory, { recursive: true }));

rootTest('nothing begins for somebody who has given up, and unknown patience is refused by name', async () => {
  await using container = await Container.create({ command });
  await container.start();
  await using volume = await temporaryVolume('data');
  await using network = await Network.create({ name: 'quiet' });
  const file = join(directory, 'copied');
  const calls: readonly ((patience: Patience) => Promise<unknown>)[] = [
    (patience) => container.stop({}, patience),
    (patience) => container.restart({ timeout: 1 }, patience),
    (patience) => container.fork(2, {}, patience),
    (patience) => container.remove({ force: true, ...patience }),
    (patience) => container.apply(directory, patience),
    (patience) => container.copyIn(join(directory, 'file'), '/tmp/file', patience),
    (patience) => container.copyOut('/etc/hostname', file, patience),
    (patience) => probe(patience),
    (patience) => Volume.create({ name: 'other' }, patience),
    (patience) => Volume.get('data', patience),
    (patience) => Volume.list({}, patience),
    (patience) => volume.inspect(patience),
    (patience) => volume.remove(patience),
    (patience) => Network.create({ name: 'other' }, patience),
    (patience) => Network.get('quiet', patience),
    (patience) => Network.list(patience),
    (patience) => network.inspect(patience),
    (patience) => network.connect(container, {}, patience),
    (patience) => network.disconnect(container, patience),
    (patience) => network.remove(patience),
  ];
  for (const call of calls) {
    await expect(call(aborted)).rejects.toBe(reason);
    await expect(call({ timeout: 'long' } as never)).rejects.toMatchObject({ field: 'timeout' });
    await expect(call({ timeout: -1 })).rejects.toMatchObject({ field: 'timeout' });
  }
  expect(container.status).toBe('running');
  expect(existsSync(file)).toBe(false);
  expect((await Container.list()).length).toBe(1);
  expect((await Volume.list()).map(({ name }) => name)).toEqual(['data']);
  expect((await Network.list()).map(({ name }) => name)).toEqual(['quiet']);
});

rootTest('stop: the program is ended all the same', async () => {
  await using container = await Container.create({ command: ['sh', '-c', 'trap "" TERM; echo up; sleep 600'] });
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
