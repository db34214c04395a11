import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { AT_FDCWD, closeFd, listXattrs, mknodAt, openAt, RENAME, renameAt, S, setXattr } from '@ns/libc';
import { unmount } from '@ns/mounts';
import {
  applyChanges,
  applyLayer,
  copyTree,
  diffLayer,
  diffTrees,
  discard,
  forkUpper,
  mountOverlay,
  snapshot,
  treeStream,
} from '@ns/overlayfs';
import { needs, notRoot } from '@ns/testing';
import { Scratch } from './scratch.ts';

const it = needs(notRoot);
let scratch: Scratch;
let lower: string;
let host: string;
let upper: string;
let work: string;
let merged: string;
beforeEach(async () => {
  if (notRoot) return;
  scratch = new Scratch({ tmpfs: true });
  lower = scratch.tree('lower', {
    'src/main.c': 'int main;',
    'src/util.c': 'util',
    'docs/a': 'a',
    'docs/b': 'b',
    'old/x/y': 'deep',
    'kind/file': 'f',
    'kind/dir/in': '',
    conf: 'c',
  });
  // The host's tree is another copy: what is applied must not depend on inodes.
  host = scratch.dir('host');
  await applyLayer(treeStream(lower), host);
  upper = scratch.dir('upper');
  work = scratch.dir('work');
  merged = scratch.dir('merged');
});
afterEach(() => scratch?.[Symbol.dispose]());

/** What an untrusted tool did. */
function work1(): void {
  mountOverlay({ lower: [lower], upper, work, target: merged }).close();
  writeFileSync(join(merged, 'src/main.c'), 'int main(void);');
  chmodSync(join(merged, 'src/main.c'), 0o4711);
  chownSync(join(merged, 'conf'), 7, 8);
  rmSync(join(merged, 'src/util.c'));
  rmSync(join(merged, 'old'), { recursive: true });
  rmSync(join(merged, 'docs'), { recursive: true });
  mkdirSync(join(merged, 'docs'));
  writeFileSync(join(merged, 'docs/b'), 'new b');
  linkSync(join(merged, 'docs/b'), join(merged, 'docs/c'));
  rmSync(join(merged, 'kind/file'));
  mkdirSync(join(merged, 'kind/file'));
  writeFileSync(join(merged, 'kind/file/now-a-directory'), '');
  rmSync(join(merged, 'kind/dir'), { recursive: true });
  symlinkSync('/etc/passwd', join(merged, 'kind/dir'));
  mkdirSync(join(merged, 'new/deep/er'), { recursive: true, mode: 0o700 });
  const fd = openAt(AT_FDCWD, merged, 0o200000);
  setXattr(fd, 'conf', 'user.k', Buffer.from([0, 255]));
  mknodAt(fd, 'new/fifo', S.IFIFO | 0o600);
  closeFd(fd);
}

it('accepted: the host tree becomes what the sandbox showed', async () => {
  work1();
  const { written, deleted, skipped } = await applyChanges(upper, host);
  expect(await diffTrees(merged, host)).toEqual([]);
  expect(statSync(join(host, 'docs/b')).ino).toBe(statSync(join(host, 'docs/c')).ino);
  expect({ skipped, deleted }).toEqual({ skipped: [], deleted: 3 });
  expect(written).toBeGreaterThan(8);
  // A second time there is nothing left to do, and nothing breaks.
  await applyChanges(upper, host);
  expect(await diffTrees(merged, host)).toEqual([]);
});

it('accepted from somebody untrusted: nothing in it has power on the host', async () => {
  const tree = scratch.tree('evil', { 'new/program': 'x', 'new/capable': 'x', 'new/plain': 'x' });
  const fd = openAt(AT_FDCWD, join(tree, 'new'), 0o200000);
  mknodAt(fd, 'disk', S.IFBLK | 0o666, 7, 0);
  mknodAt(fd, 'zero', S.IFCHR | 0o666, 1, 5);
  mknodAt(fd, 'fifo', S.IFIFO | 0o600);
  chmodSync(join(tree, 'new/program'), 0o6755);
  linkSync(join(tree, 'new/program'), join(tree, 'new/second-name'));
  // VFS_CAP_REVISION_2 with cap_sys_admin, effective.
  setXattr(fd, 'capable', 'security.capability', Buffer.from('0100000200002000000000000000000000000000', 'hex'));
  closeFd(fd);
  chmodSync(join(tree, 'new'), 0o2755);
  for (const accept of [
    () => applyChanges(tree, host, { privileges: 'drop' }),
    () => copyTree(tree, '/new', host, '/copy', { privileges: 'drop' }),
  ]) {
    const { skipped } = await accept();
    expect(skipped.map(({ path, what }) => `${path.slice(path.lastIndexOf('/') + 1)} ${what}`).sort()).toEqual([
      'capable security.capability',
      'disk device',
      'program mode',
      'zero device',
    ]);
  }
  for (const name of ['new', 'copy']) {
    const made = join(host, name);
    expect(readdirSync(made)).toEqual(['capable', 'fifo', 'plain', 'program', 'second-name']);
    expect(statSync(join(made, 'program'))).toMatchObject({ mode: S.IFREG | 0o755, nlink: 2 });
    expect(statSync(made).mode & 0o7777).toBe(0o2755);
    const directory = openAt(AT_FDCWD, made, 0o200000);
    expect(listXattrs(directory, 'capable')).not.toContain('security.capability');
    closeFd(directory);
  }
});

it('accepted: what is made anew below an opaque directory is opaque, too', async () => {
  const old = { 'opaq/sub/old': '', 'opaq/sub/deep/old': '', 'opaq/sub/kept': '' };
  scratch.tree('lower', old);
  scratch.tree('host', old);
  mountOverlay({ lower: [lower], upper, work, target: merged }).close();
  rmSync(join(merged, 'opaq'), { recursive: true });
  mkdirSync(join(merged, 'opaq/sub/deep'), { recursive: true });
  await applyChanges(upper, host, { select: (path) => path !== '/opaq/sub/kept' });
  expect(await diffTrees(merged, host)).toMatchObject([{ kind: 'added', path: '/opaq/sub/kept' }]);
  await applyChanges(upper, host, { select: (path) => path === '/opaq/sub/kept' });
  expect(await diffTrees(merged, host)).toEqual([]);
});

it('accepted in part: only what was selected', async () => {
  work1();
  await applyChanges(upper, host, {
    select: (path) => path === '/src/main.c' || path === '/new/fifo' || path === '/docs/a',
  });
  const changes = await diffTrees(lower, host);
  expect(changes.map(({ kind, path }) => `${kind} ${path}`).sort()).toEqual([
    'added /new',
    'added /new/fifo',
    'deleted /docs/a',
    'modified /src/main.c',
  ]);
  expect(lstatSync(join(host, 'new')).mode & 0o777).toBe(0o700);
});

it('rejected: the next mount shows the lower alone', async () => {
  work1();
  expect(unmount(merged, 'detach')).toBe(true);
  await discard(upper, work);
  expect(readdirSync(upper)).toEqual([]);
  expect(readdirSync(work)).toEqual([]);
  using _mount = mountOverlay({ lower: [lower], upper, work, target: merged });
  expect(await diffTrees(lower, merged)).toEqual([]);
});

it('a reader of the host sees the old file or the new one', async () => {
  const big = (letter: string) => letter.repeat(3_000_000);
  writeFileSync(join(host, 'conf'), big('o'));
  writeFileSync(join(upper, 'conf'), big('n'));
  const before = statSync(join(host, 'conf')).ino;
  const held = openAt(AT_FDCWD, join(host, 'conf'), 0);
  await applyChanges(upper, host);
  expect(readFileSync(`/proc/self/fd/${held}`, 'utf8')).toBe(big('o'));
  closeFd(held);
  expect(readFileSync(join(host, 'conf'), 'utf8')).toBe(big('n'));
  expect(statSync(join(host, 'conf')).ino).not.toBe(before);
  expect(readdirSync(host).filter((name) => name.startsWith('.ns-'))).toEqual([]);
});

it('a link in the host where a directory must be stops the work; nothing outside is touched', async () => {
  work1();
  const prey = scratch.tree('prey', { 'main.c': 'untouched', 'util.c': 'untouched' });
  rmSync(join(host, 'src'), { recursive: true });
  symlinkSync(prey, join(host, 'src'));
  await expect(applyChanges(upper, host, { select: (path) => path.startsWith('/src/') })).rejects.toMatchObject({
    code: 'ERR_NS_UNSAFE_PATH',
    path: '/src',
  });
  expect(readFileSync(join(prey, 'main.c'), 'utf8')).toBe('untouched');
  expect(readdirSync(prey)).toEqual(['main.c', 'util.c']);
  // With the directory itself accepted, the link is what is replaced.
  await applyChanges(upper, host);
  expect(lstatSync(join(host, 'src')).isDirectory()).toBe(true);
  expect(readFileSync(join(prey, 'main.c'), 'utf8')).toBe('untouched');
});

it('somebody who swaps a directory of the host for a link all the time gets nothing out', async () => {
  const prey = scratch.tree('prey', Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`f${i}`, 'untouched'])));
  scratch.tree('host/d', Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`f${i}`, 'old'])));
  scratch.tree('upper/d', Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`f${i}`, 'new'])));
  symlinkSync(prey, join(host, 'swap'));
  const fd = openAt(AT_FDCWD, host, 0o200000);
  const outcomes = new Set<string>();
  for (let round = 0; round < 30; round++) {
    // The swap happens between any two paths: select is called in the middle of the work.
    let turn = 0;
    const swapAt = round;
    const select = () => {
      if (turn++ === swapAt) expect(renameAt(fd, 'd', fd, 'swap', RENAME.EXCHANGE)).toBe(0);
      return true;
    };
    await applyChanges(upper, host, { select }).then(
      () => outcomes.add('done'),
      (error: { code: string }) => outcomes.add(error.code),
    );
    if (!lstatSync(join(host, 'd')).isDirectory()) renameAt(fd, 'd', fd, 'swap', RENAME.EXCHANGE);
    for (const name of readdirSync(prey)) expect(readFileSync(join(prey, name), 'utf8')).toBe('untouched');
    rmSync(join(host, 'swap'), { recursive: true, force: true });
    symlinkSync(prey, join(host, 'swap'));
  }
  closeFd(fd);
  expect(readdirSync(prey)).toHaveLength(50);
  expect(outcomes.size).toBeGreaterThan(0);
});

it('renamed directories and metadata-only copies are refused, not applied in part', async () => {
  using _mount = mountOverlay({ lower: [lower], upper, work, target: merged, redirectDir: 'on', metacopy: true });
  renameSync(join(merged, 'docs'), join(merged, 'papers'));
  await expect(applyChanges(upper, host)).rejects.toMatchObject({ code: 'ERR_NS_UNREPRESENTABLE', path: 'papers' });
});

it('a snapshot and forks go on where the upper stopped, each for itself', async () => {
  work1();
  const seen = scratch.dir('seen');
  await applyLayer(treeStream(merged), seen);
  expect(unmount(merged, 'detach')).toBe(true);
  const copy = join(scratch.path, 'snap');
  const tally = await snapshot(upper, copy);
  expect(tally.skipped).toEqual([]);
  expect(await diffLayer(copy, [lower])).toEqual(await diffLayer(upper, [lower]));
  const forks = await forkUpper(upper, 3, { into: scratch.dir('forks') });
  for (const [n, fork] of forks.entries()) {
    const target = scratch.dir(`fork-${n}`);
    using _mount = mountOverlay({ lower: [lower], ...fork, target });
    expect(await diffTrees(seen, target)).toEqual([]);
    writeFileSync(join(target, 'only'), String(n));
    expect(readlinkSync(join(target, 'kind/dir'))).toBe('/etc/passwd');
  }
  expect(existsSync(join(upper, 'only'))).toBe(false);
  await expect(forkUpper(upper, 0, { into: scratch.path })).rejects.toMatchObject({
    code: 'ERR_NS_INVALID_SPEC',
    field: 'count',
  });
});
