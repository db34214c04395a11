import { lstatSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import {
  applyChanges,
  applyLayer,
  commit,
  convertWhiteouts,
  copyTree,
  diffLayer,
  diffStream,
  diffTrees,
  discard,
  flatten,
  forkUpper,
  snapshot,
  stackStream,
  treeStream,
  VolumeStore,
} from '@ns/overlayfs';
import { needs, notRoot, Swapper } from '@ns/testing';
import { Scratch } from './scratch.ts';

/* Whatever reads a tree or writes into one, while its owner swaps directories and files for links to the host. */

const it = needs(notRoot);
const SECRET = 'secret of the host';
const ONLY_THERE = 'only-on-the-host';

let scratch: Scratch;
let host: string;
let base: string;
let count: number;
beforeEach(() => {
  if (notRoot) return;
  scratch = new Scratch({ tmpfs: true });
  const secrets = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`f${i}`, SECRET]));
  host = scratch.tree('host', { ...secrets, [ONLY_THERE]: SECRET, 'sub/f0': SECRET, '.wh.f1': '' });
  base = scratch.tree('base', { 'd2/f0': 'older', 'd2/gone': '', 'd9/f3': 'inside' });
  count = 0;
});
afterEach(() => scratch?.[Symbol.dispose]());

/** A tree of the enemy's, with a link beside what it is swapped for. */
function tree(more: Readonly<Record<string, string>> = {}): string {
  const files = Array.from({ length: 40 }, (_, i) => [`d${i % 4}/f${Math.floor(i / 4)}`, 'inside'] as const);
  const root = scratch.tree(`tree-${++count}`, {
    ...Object.fromEntries(files),
    'd1/sub/f0': 'inside',
    ...more,
    file: 'inside',
  });
  symlinkSync(host, join(root, 'evil'));
  symlinkSync(join(host, ONLY_THERE), join(root, 'evil-file'));
  return root;
}

const swaps = [
  ['d2', 'evil'],
  ['file', 'evil-file'],
] as const;

/** Everything below a directory as text, links not followed. */
function everythingBelow(directory: string): string {
  return readdirSync(directory, { withFileTypes: true })
    .map((entry) => {
      const path = join(directory, entry.name);
      const content = entry.isDirectory() ? everythingBelow(path) : entry.isFile() ? readFileSync(path, 'utf8') : '';
      return `${entry.name}\n${content}`;
    })
    .join('\n');
}

/** Types, modes, sizes, owners and times below a directory. */
function fingerprint(directory: string): string[] {
  return ['', ...readdirSync(directory, { recursive: true, encoding: 'utf8' })].sort().map((name) => {
    const { mode, size, mtimeMs, ctimeMs, nlink, uid } = lstatSync(join(directory, name));
    return [name, mode.toString(8), size, uid, nlink, mtimeMs, ctimeMs].join(' ');
  });
}

const fresh = (name: string) => scratch.dir(`${name}-${count}`);
const intoText = async (fill: (target: string) => Promise<unknown>) => {
  const target = fresh('out');
  await fill(target).finally(() => expect(everythingBelow(target)).not.toContain(SECRET));
  return everythingBelow(target);
};

const readers: Record<string, (from: string) => Promise<string>> = {
  treeStream: async (from) => (await buffer(treeStream(from))).toString('latin1'),
  diffStream: async (from) => (await buffer(diffStream(from))).toString('latin1'),
  stackStream: async (from) =>
    (await buffer(stackStream([{ directory: from }, { directory: base }]))).toString('latin1'),
  'diffLayer against a lower': async (from) => JSON.stringify(await diffLayer(from, [base])),
  'diffLayer alone': async (from) => JSON.stringify(await diffLayer(from)),
  'diffTrees, changed': async (from) => JSON.stringify(await diffTrees(base, from)),
  'diffTrees, before': async (from) => JSON.stringify(await diffTrees(from, base)),
  copyTree: (from) => intoText((to) => copyTree(from, '/.', to, '/')),
  'copyTree of a path on the way': (from) => intoText((to) => copyTree(from, '/d2/.', to, '/')),
  snapshot: (from) => intoText((to) => snapshot(from, to)),
  forkUpper: (from) => intoText((into) => forkUpper(from, 2, { into })),
  commit: (from) => intoText((to) => commit(from, to)),
  flatten: (from) => intoText((to) => flatten([from, base], to)),
  applyChanges: (from) => intoText((to) => applyChanges(from, to)),
  'populate a volume': (from) =>
    intoText(async (to) => {
      const volumes = new VolumeStore(to);
      await volumes.create({ name: 'v' });
      await volumes.populate('v', from, '/d2');
    }),
};

// Where a link stands for a moment, a link is what is read: its text is the enemy's own.
const withoutLinkText = (text: string) => text.replaceAll(join(host, ONLY_THERE), '').replaceAll(host, '');

for (const [name, read] of Object.entries(readers)) {
  it(`${name}: what is swapped for a link meanwhile shows nothing of the host`, async () => {
    const from = tree();
    const before = fingerprint(host);
    const outcomes = new Set<string>();
    await using _swapper = new Swapper(from, swaps);
    for (let round = 0; round < 12; round++) {
      count++;
      const seen = await read(from).then(
        (text) => {
          outcomes.add('done');
          return withoutLinkText(text);
        },
        (error: { code?: string }) => {
          outcomes.add(error.code ?? String(error));
          return '';
        },
      );
      expect(seen).not.toContain(SECRET);
      expect(seen).not.toContain(ONLY_THERE);
    }
    expect(fingerprint(host)).toEqual(before);
    // Typed answers of ours or of the kernel, and it works now and then.
    expect([...outcomes].filter((code) => !/^(done|ERR_NS_[A-Z_]+|E[A-Z]+)$/.test(code))).toEqual([]);
    expect(outcomes).toContain('done');
  });
}

const writers: Record<string, (into: string) => Promise<unknown>> = {
  'copyTree of a tree': (into) => copyTree(scratch.path, '/new/.', into, '/'),
  'copyTree to a path on the way': (into) => copyTree(scratch.path, '/new/d2/.', into, '/d2'),
  'copyTree with parents': (into) => copyTree(scratch.path, '/new/d2/.', into, '/d2/a/b/c', { makeParents: true }),
  applyLayer: (into) => applyLayer(treeStream(join(scratch.path, 'new')), into),
  'applyLayer with whiteouts': (into) =>
    applyLayer(diffStream(join(scratch.path, 'deletions'), { whiteouts: 'oci' }), into, { whiteouts: 'delete' }),
  applyChanges: (into) => applyChanges(join(scratch.path, 'new'), into),
  'applyChanges that delete': (into) => applyChanges(join(scratch.path, 'deletions'), into, { whiteouts: 'oci' }),
  'convertWhiteouts to devices': (into) => convertWhiteouts(into, 'overlay'),
  'convertWhiteouts to names': (into) => convertWhiteouts(into, 'oci'),
  discard: (into) => discard(into),
};

for (const [name, write] of Object.entries(writers)) {
  it(`${name}: what is swapped for a link meanwhile changes nothing on the host`, async () => {
    scratch.tree('new', { 'd2/f0': 'new', 'd2/f1': 'new', 'd2/sub/f0': 'new', 'd2/more': 'new', file: 'new' });
    scratch.tree('deletions', { 'd2/.wh.f0': '', 'd2/.wh.sub': '', 'd2/.wh.only-on-the-host': '', '.wh.file': '' });
    const before = fingerprint(host);
    const outcomes = new Set<string>();
    for (let round = 0; round < 12; round++) {
      const into = tree({ 'd2/.wh.gone': '', 'd3/.wh.f99': '' });
      await using _swapper = new Swapper(into, swaps);
      await write(into).then(
        () => outcomes.add('done'),
        (error: { code?: string }) => outcomes.add(error.code ?? String(error)),
      );
    }
    expect(fingerprint(host)).toEqual(before);
    expect([...outcomes].filter((code) => !/^(done|ERR_NS_[A-Z_]+|E[A-Z]+)$/.test(code))).toEqual([]);
    writeFileSync(join(host, 'alive'), '');
  }, 60_000);
}
