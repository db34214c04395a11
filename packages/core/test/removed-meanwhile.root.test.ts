import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { O, type OwnedFd, open } from '@ns/libc';
import { needs, notRoot } from '@ns/testing';
import { Container } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* What a container has changed is looked at through descriptors. Whoever removes it meanwhile closes them, and their numbers
   are somebody else's in the next moment. */

useOwnStateRoot();
const test = needs(notRoot);
const FILES = 300;

let place: string;
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'meanwhile-'));
});
afterEach(() => rmSync(place, { recursive: true, force: true }));

async function withFiles(stopped: boolean): Promise<Container> {
  const script = `mkdir /tmp/made; for i in $(seq ${FILES}); do echo $i > /tmp/made/$i; done; ${stopped ? '' : 'echo; exec sleep 600'}`;
  const container = await Container.create({ command: ['sh', '-c', script] });
  await container.start();
  if (stopped) await container.wait();
  else for await (const _ of container.logs({ follow: true })) break;
  return container;
}

/** Removes it, and has other directories opened under all numbers that became free. */
async function removeAndReuse(container: Container): Promise<OwnedFd[]> {
  await container.remove({ force: true });
  return Array.from({ length: 64 }, () => open('/etc', O.PATH | O.DIRECTORY));
}

describe.each([
  ['runs', false],
  ['is stopped', true],
] as const)('a container that %s, and is removed meanwhile', (_, stopped) => {
  test('is forked whole', async () => {
    await leavesNothing(async () => {
      const container = await withFiles(stopped);
      const forking = container.fork(2, { command: ['sh', '-c', 'cat /tmp/made/* | wc -l'] });
      const others = await removeAndReuse(container);
      for (const fork of await forking) {
        await fork.start();
        expect(await fork.wait()).toMatchObject({ exitCode: 0, stdout: `${FILES}\n` });
        await fork.remove();
      }
      for (const other of others) other.close();
    });
  }, 60_000);

  test('is committed and accepted whole, and its archive is whole', async () => {
    await leavesNothing(async () => {
      const container = await withFiles(stopped);
      const archive = container.diffStream();
      const working = Promise.all([
        container.commit(join(place, 'store')),
        container.apply('/', { select: (path) => path.startsWith('/nothing') }),
        container.diff(),
        buffer(archive),
      ]);
      const others = await removeAndReuse(container);
      const [layer, applied, changes, bytes] = await working;
      expect(readdirSync(join(layer.path, 'tmp/made'))).toHaveLength(FILES);
      expect(readFileSync(join(layer.path, 'tmp/made/7'), 'utf8')).toBe('7\n');
      expect(applied).toMatchObject({ written: 0, deleted: 0 });
      expect(changes.filter(({ path }) => /^\/tmp\/made\/\d+$/.test(path))).toHaveLength(FILES);
      expect(bytes.toString('latin1').match(/tmp\/made\/\d+\0/g)).toHaveLength(FILES);
      expect(existsSync('/nothing')).toBe(false);
      for (const other of others) other.close();
    });
  }, 60_000);
});

test('what is asked for after its removal is refused by name', async () => {
  const container = await withFiles(true);
  await container.remove();
  for (const ask of [() => container.diff(), () => container.fork(), () => container.commit(join(place, 'store'))])
    await expect(ask()).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_REMOVED' });
  expect(() => container.diffStream()).toThrow(expect.objectContaining({ code: 'ERR_NS_CONTAINER_REMOVED' }));
});
