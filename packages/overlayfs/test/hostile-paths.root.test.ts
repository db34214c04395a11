import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NsError } from '@ns/libc';
import {
  applyChanges,
  BtrfsDriver,
  commit,
  LayerStore,
  OverlayDriver,
  openSizedDirectory,
  snapshot,
  VfsDriver,
  VolumeStore,
} from '@ns/overlayfs';
import { needs, notRoot } from '@ns/testing';

/* A path that cannot be is refused in the library's own errors, whoever found out: the kernel, Node or we. */

const base = mkdtempSync(join(tmpdir(), 'overlay-paths-'));
afterAll(() => rmSync(base, { recursive: true, force: true }));
const upper = join(base, 'upper');
mkdirSync(upper);
writeFileSync(join(upper, 'file'), '');
symlinkSync('loop', join(base, 'loop'));

const paths = {
  'a name of 256 bytes': join(base, 'x'.repeat(256)),
  'a path of 5,000 bytes': base + '/x'.repeat(2_500),
  'a NUL byte': `${base}/a\0b`,
  'a directory in a file': join(upper, 'file/below'),
  'a circle of links': join(base, 'loop/below'),
};

const digest = `sha256:${'0'.repeat(64)}`;
const calls: Readonly<Record<string, (path: string) => Promise<unknown>>> = {
  applyChanges: (path) => applyChanges(upper, path),
  commit: (path) => commit(upper, path),
  snapshot: (path) => snapshot(upper, path),
  openSizedDirectory: (path) => openSizedDirectory(path),
  'LayerStore.remove': (path) => new LayerStore(path).remove(digest),
  'VolumeStore.create': (path) => new VolumeStore(path).create({ name: 'a' }),
  'OverlayDriver.create': (path) => new OverlayDriver(path).create('a', { layers: [upper] }),
  'VfsDriver.create': (path) => new VfsDriver(path).create('a', { layers: [upper] }),
  'BtrfsDriver.create': (path) => new BtrfsDriver(path).create('a', { layers: [upper] }),
};

for (const [what, path] of Object.entries(paths)) {
  needs(notRoot)(`${what} has a code and a hint in every call`, async () => {
    for (const [name, call] of Object.entries(calls)) {
      const error = await call(path).catch((reason: unknown) => reason);
      expect({ name, error }).toEqual({ name, error: expect.any(NsError) });
      expect({ name, error }).toMatchObject({ error: { code: expect.any(String), hint: expect.any(String) } });
    }
  });
}
