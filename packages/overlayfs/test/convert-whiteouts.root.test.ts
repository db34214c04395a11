import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
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
        const userxattr = second === 'overlay-user';
        mountOverlay({ lower: [layer, lower], target: seen, userxattr }).close();
      }
      expect(await diffTrees(reference, seen)).toEqual([]);
    });
  }
}
