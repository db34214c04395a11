import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { copyTree, diffTrees } from '@ns/overlayfs';
import { needs, notRoot, Swapper } from '@ns/testing';
import { Scratch } from './scratch.ts';

const it = needs(notRoot);
let scratch: Scratch;
let from: string;
let to: string;
beforeEach(() => {
  if (notRoot) return;
  scratch = new Scratch({ tmpfs: true });
  from = scratch.tree('from', { 'dir/a': 'a', 'dir/sub/b': 'b', file: 'f' });
  symlinkSync('/dir', join(from, 'link'));
  to = scratch.tree('to', { 'existing/a': 'old', 'a-file': 'x' });
  symlinkSync('/existing', join(to, 'alias'));
});
afterEach(() => scratch?.[Symbol.dispose]());

// As docker cp: source, destination, what is there afterwards.
test.each<[string, string, string[]]>([
  ['/file', '/existing', ['existing/file']],
  ['/file', '/existing/', ['existing/file']],
  ['/file', '/new-name', ['new-name']],
  ['/file', '/a-file', ['a-file']],
  ['file', '/alias/x', ['existing/x']],
  ['/link/a', '/existing', ['existing/a']],
  ['/dir', '/existing', ['existing/dir/a', 'existing/dir/sub/b']],
  ['/dir', '/new', ['new/a', 'new/sub/b']],
  ['/dir/', '/existing', ['existing/a', 'existing/sub/b']],
  ['/dir/.', '/new', ['new/a', 'new/sub/b']],
  ['/link/.', '/alias', ['existing/a', 'existing/sub/b']],
  ['/dir/../../../dir/sub', '/../existing', ['existing/sub/b']],
])('%s to %s', async (source, destination, expected) => {
  if (notRoot) return;
  await copyTree(from, source, to, destination);
  for (const path of expected) expect(existsSync(join(to, path))).toBe(true);
  const content = readFileSync(join(to, expected[0]!), 'utf8');
  expect(content).toBe(
    expected[0]!.endsWith('a') && expected[0] !== 'a-file' ? 'a' : source.endsWith('sub') ? 'b' : 'f',
  );
});

it('a link is copied as a link', async () => {
  await copyTree(from, '/link', to, '/existing');
  expect(readlinkSync(join(to, 'existing/link'))).toBe('/dir');
});

test.each<[string, string, string]>([
  ['/none', '/existing', 'ENOENT'],
  ['/file', '/no/such/dir', 'ENOENT'],
  ['/file', '/no/', 'ENOENT'],
  ['/file/.', '/existing', 'ENOTDIR'],
  ['/dir', '/a-file', 'ERR_NS_UNSAFE_PATH'],
  ['/dir/.', '/a-file', 'ERR_NS_UNSAFE_PATH'],
  ['/dir/..', '/existing', 'ERR_NS_INVALID_SPEC'],
])('%s to %s is %s', async (source, destination, code) => {
  if (notRoot) return;
  await expect(copyTree(from, source, to, destination)).rejects.toMatchObject({ code });
  expect(readFileSync(join(to, 'a-file'), 'utf8')).toBe('x');
});

it('what is not there is called what the caller has called it', async () => {
  for (const source of ['/none', '/no/such/file'])
    await expect(copyTree(from, source, to, '/existing')).rejects.toThrow(`copy '${source}' from the root`);
});

it('parents on demand, owners by choice', async () => {
  await copyTree(from, '/dir', to, '/p/q/r', { makeParents: true, mapOwner: () => ({ uid: 11, gid: 12 }) });
  expect(statSync(join(to, 'p/q/r/sub/b'))).toMatchObject({ uid: 11, gid: 12 });
  expect(lstatSync(join(to, 'p/q/r')).uid).toBe(11);
});

it('a whole tree is as rsync would have it', async () => {
  const theirs = scratch.dir('theirs');
  execFileSync('rsync', ['-aHAX', `${from}/`, `${theirs}/`]);
  const ours = scratch.dir('ours');
  await copyTree(from, '/.', ours, '/');
  expect(await diffTrees(theirs, ours, { compare: 'times' })).toEqual([]);
});

it('copying out of a container that swaps links gives nothing of the host (CVE-2018-15664)', async () => {
  const host = scratch.tree('host', { secret: 'host secret' });
  const container = scratch.tree('container', { 'data/secret': 'container' });
  symlinkSync(host, join(container, 'evil'));
  await using _swapper = new Swapper(container, [['data', 'evil']]);
  const results: string[] = [];
  for (let i = 0; i < 300; i++) {
    const out = scratch.dir(`out/${i}`);
    await copyTree(container, '/data/secret', out, '/').then(
      () => results.push(readFileSync(join(out, 'secret'), 'utf8')),
      (error: { code: string }) => results.push(error.code),
    );
  }
  expect(results).toContain('container');
  expect([...new Set(results)].filter((result) => result !== 'container')).toEqual(
    expect.not.arrayContaining([expect.stringMatching(/host secret|ERR_NS_INVALID/)]),
  );
});

it('copying into a container that swaps links writes nothing to the host (CVE-2018-15664)', async () => {
  const host = scratch.tree('host', { 'etc/': '' });
  const container = scratch.tree('container', { 'etc/': '' });
  symlinkSync(join(host, 'etc'), join(container, 'evil'));
  await using _swapper = new Swapper(container, [['etc', 'evil']]);
  const codes = new Set<string>();
  for (let i = 0; i < 300; i++) {
    await copyTree(from, '/file', container, '/etc/file').then(
      () => codes.add('done'),
      (error: { code: string }) => codes.add(error.code),
    );
  }
  expect(readdirSync(join(host, 'etc'))).toEqual([]);
  expect(codes).toContain('done');
});

it('a tree that is removed while it is copied ends in an error or a part, never elsewhere', async () => {
  const tree = scratch.tree(
    'tree',
    Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`d${i % 10}/f${i}`, 'x'.repeat(100)])),
  );
  const out = scratch.dir('out');
  const copying = copyTree(scratch.path, '/tree/.', out, '/').catch((error: { code: string }) => error.code);
  rmSync(join(tree, 'd5'), { recursive: true });
  mkdirSync(join(tree, 'd5'));
  writeFileSync(join(tree, 'd5/new'), '');
  await copying;
  expect(readdirSync(out).length).toBeGreaterThan(0);
});
