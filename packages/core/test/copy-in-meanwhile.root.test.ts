import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { needs, notRoot } from '@ns/testing';
import { Container } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* A container that ends while something large is copied into it. */

useOwnStateRoot();
const test = needs(notRoot);
const DIRECTORIES = 100;
const FILES = 200;

let tree: string;
beforeAll(() => {
  tree = mkdtempSync(join(tmpdir(), 'copy-in-'));
  for (let directory = 0; directory < DIRECTORIES; directory++) {
    mkdirSync(join(tree, String(directory)));
    for (let file = 0; file < FILES; file++) writeFileSync(join(tree, String(directory), String(file)), '');
  }
});
afterAll(() => rmSync(tree, { recursive: true, force: true }));

const refused = { code: 'ERR_NS_CONTAINER_NOT_RUNNING', message: expect.stringContaining('cannot copy into it') };

for (const [how, end] of [
  ['removed', (c: Container) => c.remove({ force: true })],
  ['killed', (c: Container) => c.kill()],
  ['stopped', (c: Container) => c.stop({ timeout: 0 })],
] as const)
  test(`a copy into a container that is ${how} meanwhile ends, and says why`, async () => {
    await leavesNothing(async () => {
      await using container = await Container.create({ command: ['sleep', '600'] });
      await container.start();
      const copying = container.copyIn(`${tree}/.`, '/srv').then(
        () => 'all of it is copied',
        (error: unknown) => error,
      );
      await delay(20);
      await end(container);
      const endedAt = performance.now();
      expect(await copying).toMatchObject(refused);
      expect(performance.now() - endedAt).toBeLessThan(100);
    });
  });

test('what its caller gives up for another reason has that', async () => {
  await using container = await Container.create({ command: ['sleep', '600'] });
  await container.start();
  await expect(container.copyIn(`${tree}/.`, '/srv', { timeout: 20 })).rejects.toMatchObject({
    code: 'ERR_NS_TIMEOUT',
  });
  const { stdout } = await container.exec('sh', ['-c', 'find /srv -type f | wc -l']);
  expect(Number(stdout)).toBeLessThan(DIRECTORIES * FILES);
});

test('a copy out of it is whole all the same', async () => {
  const place = mkdtempSync(join(tmpdir(), 'copy-out-'));
  try {
    await using container = await Container.create({ command: ['sleep', '600'] });
    await container.start();
    await container.copyIn(`${tree}/.`, '/srv/tree');
    const copying = container.copyOut('/srv/tree', join(place, 'copy'));
    await delay(20);
    await container.remove({ force: true });
    await copying;
    expect(readdirSync(join(place, 'copy'))).toHaveLength(DIRECTORIES);
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
});
