import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unmount } from '@ns/mounts';
import {
  applyLayer,
  convertWhiteouts,
  diffLayer,
  diffStream,
  diffTrees,
  mountOverlay,
  treeStream,
  type WhiteoutNotation,
} from '@ns/overlayfs';
import { needs, notRoot } from '@ns/testing';
import { Scratch } from './scratch.ts';

const it = needs(notRoot);
let scratch: Scratch;
let lower: string;
let layer: string;
let reference: string;
beforeEach(async () => {
  if (notRoot) return;
  scratch = new Scratch({ tmpfs: true });
  lower = scratch.tree('lower', { 'a/gone': '', 'a/kept': '', 'b/old': '', 'c/x': '' });
  layer = scratch.dir('layer');
  const merged = scratch.dir('merged');
  using _mount = mountOverlay({ lower: [lower], upper: layer, work: scratch.dir('work'), target: merged });
  rmSync(join(merged, 'a/gone'));
  rmSync(join(merged, 'b'), { recursive: true });
  mkdirSync(join(merged, 'b'));
  writeFileSync(join(merged, 'b/new'), '');
  rmSync(join(merged, 'c'), { recursive: true });
  reference = scratch.dir('reference');
  await applyLayer(treeStream(merged), reference);
  unmount(merged, 'detach');
});
afterEach(() => scratch?.[Symbol.dispose]());

const notations: WhiteoutNotation[] = ['oci', 'overlay-xattr', 'overlay-user', 'overlay'];

for (const first of notations) {
  for (const second of notations) {
    it(`${first}, then ${second}: the layer says the same`, async () => {
      const expected = (await diffLayer(layer, [lower])).map(({ kind, path }) => `${kind} ${path}`).sort();
      expect(await convertWhiteouts(layer, first)).toBe(3);
      expect(await convertWhiteouts(layer, second)).toBe(3);
      const form = second === 'oci' ? 'oci' : 'overlay';
      const changes = await diffLayer(layer, [lower], { whiteouts: form });
      expect(changes.map(({ kind, path }) => `${kind} ${path}`).sort()).toEqual(expected);

      // The kernel, or another reader of OCI layers, understands it too.
      const seen = scratch.dir('seen');
      if (second === 'oci') {
        await applyLayer(diffStream(lower), seen);
        await applyLayer(diffStream(layer, { whiteouts: 'oci' }), seen);
        expect(readdirSync(join(layer, 'a'))).toEqual(['.wh.gone']);
      } else {
        for (const userxattr of second === 'overlay-xattr' ? [true, false] : [second === 'overlay-user']) {
          using _mount = mountOverlay({ lower: [layer, lower], target: seen, userxattr });
          expect(await diffTrees(reference, seen)).toEqual([]);
        }
        return;
      }
      expect(await diffTrees(reference, seen)).toEqual([]);
    });
  }
}

for (const to of notations) {
  it(`${to}: what a layer has in place of what it deletes stays`, async () => {
    const own = scratch.tree('own', {
      '.wh.a': '',
      'a/new': '',
      'b/.wh.old': '',
      'b/old': 'new',
      '.wh.c': '',
      c: 'new',
    });
    await convertWhiteouts(own, to);
    const seen = scratch.dir('seen');
    const look = (): void => {
      expect(readdirSync(seen).sort()).toEqual(['a', 'b', 'c']);
      expect(readdirSync(join(seen, 'a'))).toEqual(['new']);
      expect(readFileSync(join(seen, 'b/old'), 'utf8')).toBe('new');
      expect(readFileSync(join(seen, 'c'), 'utf8')).toBe('new');
    };
    if (to === 'oci') {
      await applyLayer(diffStream(lower), seen);
      await applyLayer(diffStream(own, { whiteouts: 'oci' }), seen);
      look();
    } else {
      using _mount = mountOverlay({ lower: [own, lower], target: seen, userxattr: to === 'overlay-user' });
      look();
    }
  });
}

it('who has no privilege can convert a layer of his own, too', async () => {
  const own = scratch.tree('own', { 'a/.wh.gone': '', 'b/.wh..wh..opq': '' });
  for (const name of ['', 'a', 'a/.wh.gone', 'b', 'b/.wh..wh..opq']) chownSync(join(own, name), 1000, 1000);
  process.seteuid!(1000);
  try {
    expect(await convertWhiteouts(own, 'overlay-xattr')).toBe(2);
  } finally {
    process.seteuid!(0);
  }
  const changes = (await diffLayer(own, [lower])).filter(({ kind }) => kind === 'deleted');
  expect(changes.map(({ path }) => path)).toEqual(['/a/gone', '/b/old']);
});

it('what cannot be marked anew keeps its mark', async () => {
  const own = scratch.tree('own', { 'a/.wh.gone': '', 'b/.wh..wh..opq': '' });
  for (const name of ['a', 'b']) {
    // The mark is his; of a sticky directory of somebody else he cannot set attributes.
    chmodSync(join(own, name), 0o1777);
    chownSync(join(own, name, readdirSync(join(own, name))[0]!), 1000, 1000);
    process.seteuid!(1000);
    try {
      await expect(convertWhiteouts(own, 'overlay-xattr')).rejects.toMatchObject({ code: 'EPERM' });
    } finally {
      process.seteuid!(0);
    }
    const changes = await diffLayer(own, [lower], { whiteouts: 'oci' });
    expect(changes.map(({ kind, path }) => `${kind} ${path}`)).toContain(
      `deleted /${name === 'a' ? 'a/gone' : 'b/old'}`,
    );
    rmSync(join(own, name), { recursive: true });
  }
});
