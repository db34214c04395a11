import { existsSync } from 'node:fs';
import { BtrfsDriver, FuseOverlayfsDriver, OverlayDriver, VfsDriver } from '@ns/overlayfs';
import { notRoot, type StorageSetup, storageDriverConformance } from '@ns/testing';
import { btrfs } from './btrfs.ts';
import { lacks } from './lacks.ts';
import { Scratch } from './scratch.ts';

function setup(
  scratch: Scratch,
  make: (home: string) => StorageSetup['driver'],
  home = scratch.dir('home'),
): StorageSetup {
  return { driver: make(home), directory: scratch.dir('layers'), [Symbol.dispose]: () => scratch[Symbol.dispose]() };
}

storageDriverConformance({
  title: 'overlay',
  missing: notRoot ?? lacks('mkfs.ext4'),
  size: 'limited',
  setUp: async () => setup(new Scratch({ tmpfs: true }), (home) => new OverlayDriver(home)),
});

storageDriverConformance({
  title: 'vfs',
  missing: notRoot,
  size: 'refused',
  setUp: async () => setup(new Scratch({ tmpfs: true }), (home) => new VfsDriver(home)),
});

storageDriverConformance({
  title: 'fuse-overlayfs',
  missing: notRoot ?? lacks('fuse-overlayfs') ?? (existsSync('/dev/fuse') ? undefined : 'no /dev/fuse'),
  size: 'refused',
  setUp: async () => setup(new Scratch({ tmpfs: true }), (home) => new FuseOverlayfsDriver(home)),
});

storageDriverConformance({
  title: 'btrfs',
  missing: notRoot ?? lacks('mkfs.btrfs'),
  size: 'limited',
  setUp: async () => {
    const scratch = new Scratch({ tmpfs: true });
    return setup(scratch, (home) => new BtrfsDriver(home), btrfs(scratch));
  },
});

storageDriverConformance({
  title: 'vfs on btrfs (reflinks)',
  missing: notRoot ?? lacks('mkfs.btrfs'),
  size: 'refused',
  setUp: async () => {
    const scratch = new Scratch({ tmpfs: true });
    return setup(scratch, (home) => new VfsDriver(home), btrfs(scratch));
  },
});
