import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commit, diffLayer, diffStream, diffTrees, LayerStore, mountOverlay, treeStream } from '@ns/overlayfs';
import { needs, notRoot } from '@ns/testing';
import { Scratch } from './scratch.ts';

const it = needs(notRoot);
let scratch: Scratch;
let lower: string;
let upper: string;
let merged: string;
let store: LayerStore;
beforeEach(() => {
  if (notRoot) return;
  scratch = new Scratch({ tmpfs: true });
  lower = scratch.tree('lower', { 'a/b': '1', 'a/c': '2', 'd/e': '3' });
  upper = scratch.dir('upper');
  merged = scratch.dir('merged');
  store = new LayerStore(join(scratch.path, 'store'));
});
afterEach(() => scratch?.[Symbol.dispose]());

function change(): void {
  mountOverlay({ lower: [lower], upper, work: scratch.dir('work'), target: merged }).close();
  writeFileSync(join(merged, 'a/b'), 'changed');
  rmSync(join(merged, 'a/c'));
  rmSync(join(merged, 'd'), { recursive: true });
  mkdirSync(join(merged, 'd'));
  chmodSync(merged, 0o711);
}

async function digestOf(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of stream) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

it('commit: the upper becomes a layer that shows the same', async () => {
  change();
  const layer = await commit(upper, store);
  expect(layer.digest).toBe(await digestOf(diffStream(upper)));
  const again = scratch.dir('again');
  using _mount = mountOverlay({ lower: [layer.path, lower], target: again });
  expect(await diffTrees(merged, again)).toEqual([]);
  expect(statSync(again).mode & 0o777).toBe(0o711);
  expect(readdirSync(join(scratch.path, 'store/tmp'))).toEqual([]);
  expect(statSync(join(scratch.path, 'store/sha256')).mode & 0o077).toBe(0);
});

it('the same layer is stored once, whichever way it comes', async () => {
  change();
  const first = await store.commit(upper);
  const inode = statSync(first.path).ino;
  const second = await store.commit(upper);
  const third = await store.add(diffStream(upper), { expected: first.digest });
  expect([second, third]).toEqual([first, first]);
  expect(statSync(third.path).ino).toBe(inode);
  expect(await store.list()).toEqual([first.digest]);
  expect(await store.get(first.digest)).toEqual(first);
  const changes = async (path: string) => (await diffLayer(path, [lower])).map(({ kind, path: at }) => `${kind} ${at}`);
  expect(await changes(third.path)).toEqual(await changes(upper));
});

it('a layer whose digest is not the expected one never appears', async () => {
  const expected = `sha256:${'0'.repeat(64)}`;
  await expect(store.add(treeStream(lower), { expected })).rejects.toMatchObject({ code: 'ERR_NS_BAD_ARCHIVE' });
  expect(await store.list()).toEqual([]);
  expect(readdirSync(join(scratch.path, 'store/tmp'))).toEqual([]);
});

it('removed is gone, twice too; get says so; prune removes what a crash left', async () => {
  change();
  const { digest, path } = await store.commit(upper);
  await store.remove(digest);
  await store.remove(digest);
  expect(existsSync(path)).toBe(false);
  expect(await store.has(digest)).toBe(false);
  await expect(store.get(digest)).rejects.toMatchObject({ code: 'ERR_NS_NO_SUCH_LAYER' });
  mkdirSync(join(scratch.path, 'store/tmp/left/diff/deep'), { recursive: true });
  await store.prune();
  expect(readdirSync(join(scratch.path, 'store/tmp'))).toEqual([]);
});

test.each(['sha256:../../etc', 'sha256:ABC', `sha512:${'0'.repeat(64)}`, `sha256:${'0'.repeat(64)}/..`, ''])(
  'the digest %j is no path',
  async (digest) => {
    await expect(new LayerStore('/nonexistent').get(digest)).rejects.toMatchObject({
      code: 'ERR_NS_INVALID_SPEC',
      field: 'digest',
    });
  },
);

it('many mounts of one layer set share its files', async () => {
  change();
  const { path } = await store.commit(upper);
  const targets = Array.from({ length: 50 }, (_, i) => scratch.dir(`c/${i}`));
  const mounts = targets.map((target) => mountOverlay({ lower: [path, lower], target }));
  const inodes = new Set(
    targets.map((target) => readFileSync(join(target, 'a/b'), 'utf8') && statSync(join(target, 'a/b')).ino),
  );
  for (const mount of mounts) mount.close();
  expect(inodes.size).toBe(1);
});

it('10,000 files: each change is listed and committed', async () => {
  const files = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`d${i % 100}/f${i}`, `${i}`]));
  const many = scratch.tree('many', files);
  mountOverlay({ lower: [many], upper, work: scratch.dir('work'), target: merged }).close();
  // Of three files one is changed, one removed, and one replaced by another.
  const names = Object.keys(files);
  for (const [i, name] of names.entries()) {
    if (i % 3 > 0) rmSync(join(merged, name));
    if (i % 3 !== 1) writeFileSync(join(merged, i % 3 === 0 ? name : `${name}-new`), 'changed');
  }
  const changes = await diffLayer(upper, [many]);
  const count = (wanted: string) => changes.filter(({ kind }) => kind === wanted).length;
  expect([count('modified'), count('deleted'), count('added')]).toEqual([3334, 6666, 3333]);
  const { path } = await store.commit(upper);
  const again = scratch.dir('again');
  using _mount = mountOverlay({ lower: [path, many], target: again });
  expect(await diffTrees(merged, again, { compare: 'times' })).toEqual([]);
}, 60_000);
