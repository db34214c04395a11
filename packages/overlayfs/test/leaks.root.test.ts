import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  applyChanges,
  applyLayer,
  commit,
  copyTree,
  diffLayer,
  diffStream,
  diffTrees,
  discard,
  forkUpper,
  mountOverlay,
  treeStream,
} from '@ns/overlayfs';
import { kernelState, leftSince, needs, notRoot } from '@ns/testing';
import { Scratch } from './scratch.ts';

needs(notRoot)('nothing stays open, whether it went well, failed or was given up', async () => {
  using scratch = new Scratch({ tmpfs: true });
  const tree = scratch.tree('tree', { 'a/b/c/d': 'x', 'a/e': 'y', f: 'z' });
  const upper = scratch.tree('upper', { 'a/b/new': 'n', 'a/.wh.e': '' });
  const host = scratch.tree('host', { a: 'a file where a directory must be' });
  symlinkSync('/', join(scratch.dir('other'), 'a'));
  const before = kernelState();

  await diffLayer(upper, [tree]);
  await diffTrees(tree, upper);
  for await (const _ of diffTrees(tree, host)) break;
  for await (const _ of treeStream(tree)) break;
  await diffStream(upper)
    .toArray()
    .catch(() => {});
  await applyLayer(treeStream(tree), scratch.dir('copy'));
  await applyLayer([Buffer.alloc(700, 'not a tar ')], scratch.dir('copy')).catch(() => {});
  await applyChanges(upper, scratch.dir('copy'));
  await applyChanges(upper, scratch.dir('other'), { select: (path) => path !== '/a' }).catch(() => {});
  await applyChanges(upper, `${scratch.path}/missing/place`).catch(() => {});
  await copyTree(tree, '/a', scratch.path, '/copied');
  await copyTree(tree, '/a', host, '/a').catch(() => {});
  await commit(tree, join(scratch.path, 'store'));
  await forkUpper(tree, 2, { into: scratch.dir('forks') });
  await discard(scratch.dir('copy'));
  expect(() => mountOverlay({ lower: [tree, tree], target: scratch.path })).toThrow();
  expect(() => mountOverlay({ lower: [tree, host], target: `${scratch.path}/missing/place` })).toThrow();
  writeFileSync(join(tree, 'still-usable'), '');

  expect(await leftSince(before)).toEqual([]);
});
