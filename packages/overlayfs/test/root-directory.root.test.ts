import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { attachMount, createMount } from '@ns/mounts';
import { needs, notRoot } from '@ns/testing';
import { RootDirectory } from '../src/root-directory.ts';
import { Scratch } from './scratch.ts';

const rootTest = needs(notRoot);
const spec = { layers: ['/'] };

rootTest('a root that cannot be filled leaves nothing', async () => {
  using scratch = new Scratch();
  const roots = new RootDirectory(scratch.dir('roots'));
  const full = async (path: string) => {
    mkdirSync(join(path, 'half'));
    throw new Error('no space');
  };
  await expect(roots.create('web', spec, full)).rejects.toThrow(/^no space$/);
  expect(readdirSync(roots.path)).toEqual([]);
});

rootTest('why it cannot be filled is told also when what is there cannot be removed', async () => {
  using scratch = new Scratch();
  const roots = new RootDirectory(scratch.dir('roots'));
  const stuck = async (path: string) => {
    mkdirSync(join(path, 'mount'));
    using tmpfs = createMount({ type: 'tmpfs', source: 'stuck' });
    attachMount(tmpfs, join(path, 'mount'));
    throw new Error('no space');
  };
  await expect(roots.create('web', spec, stuck)).rejects.toMatchObject({
    errors: [new Error('no space'), expect.objectContaining({ code: 'EBUSY' })],
  });
});
