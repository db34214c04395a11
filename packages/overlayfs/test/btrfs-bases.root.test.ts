import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { O, open, tryLock } from '@ns/libc';
import { BtrfsDriver } from '@ns/overlayfs';
import { needs, notRoot } from '@ns/testing';
import { createSubvolume } from '../src/btrfs-subvolume.ts';
import { btrfs } from './btrfs.ts';
import { lacks } from './lacks.ts';
import { Scratch } from './scratch.ts';

const btrfsTest = needs(notRoot ?? lacks('mkfs.btrfs'));

btrfsTest('what the killed maker of a base has left goes with the next one; what is being made stays', async () => {
  using scratch = new Scratch({ tmpfs: true });
  const home = btrfs(scratch);
  const bases = scratch.dir('btrfs/bases');
  using directory = open(bases, O.RDONLY | O.DIRECTORY);
  createSubvolume(directory.fd, 'left.new');
  createSubvolume(directory.fd, 'under-way.new');
  // As its maker does; the kernel lets go of the lock when he dies.
  using underWay = open(join(bases, 'under-way.new'), O.RDONLY | O.DIRECTORY);
  expect(tryLock(underWay.fd)).toBe(true);

  const layer = scratch.tree('layer', { 'bin/sh': 'shell' });
  const root = await new BtrfsDriver(home).create('web', { layers: [layer] });
  expect(readdirSync(bases).filter((name) => name.endsWith('.new'))).toEqual(['under-way.new']);
  expect(readdirSync(bases)).toHaveLength(2);
  await root.remove();
});
