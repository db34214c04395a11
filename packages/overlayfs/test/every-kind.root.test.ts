import { closeSync, lstatSync, mkdirSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  applyChanges,
  applyLayer,
  commit,
  copyTree,
  createOverlay,
  diffStream,
  diffTrees,
  flatten,
  forkUpper,
  snapshot,
  stackStream,
  treeStream,
  VolumeStore,
} from '@ns/overlayfs';
import { needs, notRoot } from '@ns/testing';
import { everyKind, HUGE, hugeFile } from './every-kind.ts';
import { Scratch } from './scratch.ts';

/* Every way a tree goes through this package gives the same tree: kinds, names, modes, owners, attributes, times, links, holes. */

const it = needs(notRoot);
let scratch: Scratch;
beforeEach(() => {
  if (!notRoot) scratch = new Scratch({ tmpfs: true });
});
afterEach(() => scratch?.[Symbol.dispose]());

/** Puts a copy of `from` somewhere below `to`, an empty directory, and says where. */
const ways: Record<string, (from: string, to: string) => Promise<string>> = {
  'copyTree, contents': async (from, to) => {
    await copyTree(from, '/.', to, '/');
    return to;
  },
  'copyTree, by name': async (from, to) => {
    await copyTree(scratch.path, from.slice(scratch.path.length), to, '/');
    return join(to, 'tree');
  },
  snapshot: async (from, to) => {
    await snapshot(from, to);
    return to;
  },
  forkUpper: async (from, into) => (await forkUpper(from, 2, { into }))[1]!.upper,
  commit: async (from, to) => (await commit(from, to)).path,
  flatten: async (from, to) => {
    await flatten([from], to);
    return to;
  },
  applyChanges: async (from, to) => {
    await applyChanges(from, to);
    return to;
  },
  'a volume': async (from, to) => {
    const volumes = new VolumeStore(to);
    const { path } = await volumes.create({ name: 'v' });
    await volumes.populate('v', from, '/');
    return path;
  },
  treeStream: async (from, to) => {
    await applyLayer(treeStream(from), to);
    return to;
  },
  diffStream: async (from, to) => {
    await applyLayer(diffStream(from), to);
    return to;
  },
  stackStream: async (from, to) => {
    await applyLayer(stackStream([from, scratch.dir('empty')]), to);
    return to;
  },
  'treeStream of an overlay': async (from, to) => {
    using overlay = createOverlay({ lower: [from, scratch.dir('empty')] });
    await applyLayer(treeStream(overlay), to);
    return to;
  },
  'copyTree out of an overlay': async (from, to) => {
    using overlay = createOverlay({ lower: [from, scratch.dir('empty')] });
    await copyTree(overlay, '/.', to, '/');
    return to;
  },
  'copyTree into an overlay': async (from, to) => {
    const [upper, work] = [join(to, 'upper'), join(to, 'work')];
    for (const path of [upper, work]) mkdirSync(path);
    using overlay = createOverlay({ lower: [scratch.dir('empty')], upper, work });
    await copyTree(from, '/.', overlay, '/');
    return upper;
  },
};

const statOf = (path: string) => lstatSync(path, { bigint: true });

function readAt(path: string, into: Buffer, position: number): void {
  const fd = openSync(path, 'r');
  readSync(fd, into, 0, into.length, position);
  closeSync(fd);
}

const linked = [
  ['a/file', 'b/hard'],
  ['b/soft', 'b/soft-too'],
  ['fifo', 'fifo-too'],
] as const;

for (const [name, copy] of Object.entries(ways)) {
  it(`${name}: every kind of file arrives as it is`, async () => {
    const tree = everyKind(scratch, 'tree');
    const there = await copy(tree, scratch.dir('to'));
    expect(await diffTrees(tree, there)).toEqual([]);
    expect(await diffTrees(tree, there, { compare: 'times' })).toEqual([]);
    const stat = (path: string) => statOf(join(there, path));
    for (const [a, b] of linked) expect([a, stat(a).ino, stat(a).nlink]).toEqual([a, stat(b).ino, 2n]);
    for (const path of ['a/file', 'a/empty', 'b/soft', 'b/c', 'fifo', 'a', 'b'])
      expect([path, stat(path).mtimeNs]).toEqual([path, statOf(join(tree, path)).mtimeNs]);
    for (const path of ['sparse', 'only-a-hole']) expect(Number(stat(path).blocks) * 512).toBeLessThan(1_000_000);
  });
}

const copying = ['copyTree, contents', 'snapshot', 'flatten', 'applyChanges', 'a volume', 'copyTree out of an overlay'];

for (const name of copying) {
  it(`${name}: a file over 8 GiB arrives with its holes`, async () => {
    const tree = scratch.dir('tree');
    hugeFile(join(tree, 'huge'));
    const there = join(await ways[name]!(tree, scratch.dir('to')), 'huge');
    const { size, blocks } = statSync(there);
    expect(size).toBe(HUGE);
    expect(blocks * 512).toBeLessThan(1_000_000);
    const [begin, end] = [Buffer.alloc(5), Buffer.alloc(3)];
    readAt(there, begin, 0);
    readAt(there, end, HUGE - 3);
    expect(`${begin} ${end}`).toBe('begin end');
  });
}
