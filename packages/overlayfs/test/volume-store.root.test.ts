import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, readdirSync, rmdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { VolumeStore } from '@ns/overlayfs';
import { needs, notRoot } from '@ns/testing';
import { Scratch } from './scratch.ts';

const it = needs(notRoot);
let scratch: Scratch;
let volumes: VolumeStore;
beforeEach(() => {
  if (notRoot) return;
  scratch = new Scratch({ tmpfs: true });
  volumes = new VolumeStore(join(scratch.path, 'volumes'));
});
afterEach(() => scratch?.[Symbol.dispose]());

it('made, found, listed, removed', async () => {
  expect(await volumes.list()).toEqual([]);
  const volume = await volumes.create({ name: 'data', labels: { app: 'x' } });
  expect(statSync(volume.path).isDirectory()).toBe(true);
  expect(await volumes.get('data')).toEqual({ ...volume, usedBy: [] });
  await volumes.create({ name: 'a' });
  expect((await volumes.list()).map(({ name }) => name)).toEqual(['a', 'data']);
  await expect(volumes.create({ name: 'data' })).rejects.toMatchObject({ code: 'ERR_NS_VOLUME_EXISTS' });
  await volumes.remove('data');
  await volumes.remove('data');
  await expect(volumes.get('data')).rejects.toMatchObject({ code: 'ERR_NS_NO_SUCH_VOLUME' });
  expect(readdirSync(join(scratch.path, 'volumes'))).toEqual(['a']);
});

it('is not removed while it is used', async () => {
  await volumes.create({ name: 'data' });
  await volumes.use('data', 'c1');
  await volumes.use('data', 'c1');
  await volumes.use('data', 'c2');
  await expect(volumes.remove('data')).rejects.toMatchObject({
    code: 'ERR_NS_VOLUME_IN_USE',
    message: expect.stringContaining('c1, c2'),
  });
  await volumes.release('data', 'c1');
  await volumes.release('data', 'c2');
  await volumes.release('data', 'c2');
  await volumes.remove('data');
  await volumes.release('data', 'c2');
});

it('one whose removal was broken off hides no other, and can be removed and made again', async () => {
  await volumes.create({ name: 'whole' });
  const { path } = await volumes.create({ name: 'half' });
  rmdirSync(join(path, '../users')); // the first step of remove()
  expect((await volumes.list()).map(({ name }) => name)).toEqual(['whole']);
  await volumes.remove('half');
  expect(readdirSync(join(scratch.path, 'volumes'))).toEqual(['whole']);
  await volumes.create({ name: 'half' });
});

it('is filled from the image once, and from inside the image only', async () => {
  const image = scratch.tree('image', { 'var/lib/db/init': 'sql', 'var/lib/db/sub/x': '' });
  chownSync(join(image, 'var/lib/db'), 999, 998);
  const host = scratch.tree('host', { secret: '' });
  symlinkSync(host, join(image, 'escape'));
  const { path } = await volumes.create({ name: 'db' });
  expect(await volumes.populate('db', image, '/nothing')).toBe(false);
  expect(await volumes.populate('db', image, '/escape')).toBe(false);
  expect(await volumes.populate('db', image, '/var/lib/db')).toBe(true);
  expect(readdirSync(path).sort()).toEqual(['init', 'sub']);
  expect(statSync(path)).toMatchObject({ uid: 999, gid: 998 });
  writeFileSync(join(image, 'var/lib/db/later'), '');
  expect(await volumes.populate('db', image, '/var/lib/db')).toBe(false);
  expect(existsSync(join(path, 'later'))).toBe(false);
});

it('two processes that fill it at once: one does, the other waits', async () => {
  const image = scratch.tree('image', Object.fromEntries(Array.from({ length: 2_000 }, (_, i) => [`data/f${i}`, 'x'])));
  const { path } = await volumes.create({ name: 'shared' });
  // Also how two processes are to each other: each has opened the directory for itself.
  const others = Array.from({ length: 4 }, () => new VolumeStore(join(scratch.path, 'volumes')));
  const filled = await Promise.all(others.map((store) => store.populate('shared', image, '/data')));
  expect(filled.filter(Boolean)).toHaveLength(1);
  expect(readdirSync(path)).toHaveLength(2_000);
  expect(readdirSync(join(path, '..')).sort()).toEqual(['data', 'users', 'volume.json']);
});

it('whoever waits for another process can lose patience', async () => {
  const image = scratch.tree('image', { 'data/f': 'x' });
  const { path } = await volumes.create({ name: 'held' });
  const hold = 'exec 9< "$0"; flock 9; echo held; exec sleep 60';
  const holder = spawn('sh', ['-c', hold, join(path, '..')], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    await once(holder.stdout, 'data');
    const signal = AbortSignal.timeout(100);
    await expect(volumes.populate('held', image, '/data', { signal })).rejects.toMatchObject({ name: 'AbortError' });
  } finally {
    holder.kill('SIGKILL');
    await once(holder, 'close');
  }
  expect(readdirSync(path)).toEqual([]);
});

it('a filling that was interrupted is begun anew', async () => {
  const image = scratch.tree('image', Object.fromEntries(Array.from({ length: 2_000 }, (_, i) => [`data/f${i}`, 'x'])));
  const { path } = await volumes.create({ name: 'begun' });
  // What a process left that was killed.
  scratch.tree('volumes/begun/filling', { stale: 'x' });
  const abort = new AbortController();
  setImmediate(() => abort.abort());
  await expect(volumes.populate('begun', image, '/data', { signal: abort.signal })).rejects.toMatchObject({
    name: 'AbortError',
  });
  expect(readdirSync(path)).toEqual([]);
  expect(await volumes.populate('begun', image, '/data')).toBe(true);
  expect(readdirSync(path)).toHaveLength(2_000);
});

for (const own of ['/data', '/nothing']) {
  it(`a filling that was interrupted in its last move is ended, also by who brings ${own}`, async () => {
    const image = scratch.tree('image', { 'data/a': 'x', 'data/b': 'x' });
    const { path } = await volumes.create({ name: 'moved' });
    // What a process left that was killed between two renames.
    scratch.tree('volumes/moved', { 'data/a': 'x', 'filled/b': 'x' });
    expect(await volumes.populate('moved', image, own)).toBe(true);
    expect(readdirSync(path).sort()).toEqual(['a', 'b']);
    expect(readdirSync(join(path, '..')).sort()).toEqual(['data', 'users', 'volume.json']);
    expect(await volumes.populate('moved', image, own)).toBe(false);
  });
}

test.each(['../x', 'a/b', '', '.hidden', '-x', 'x'.repeat(200)])('the name %j is no path', async (name) => {
  await expect(new VolumeStore('/nonexistent').create({ name })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
});
