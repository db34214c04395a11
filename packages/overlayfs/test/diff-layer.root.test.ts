import {
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { closeFd, setXattr } from '@ns/libc';
import { applyChanges, applyLayer, type Change, diffLayer, diffStream, mountOverlay, snapshot } from '@ns/overlayfs';
import { needs, notRoot } from '@ns/testing';
import { Scratch } from './scratch.ts';

const short = (changes: readonly Change[]) =>
  changes.map(({ kind, path }) => `${kind[0]?.toUpperCase()} ${path}`).sort();

let scratch: Scratch;
let lower: string;
let upper: string;
let merged: string;
let run: (change: () => void) => void;
beforeEach(() => {
  if (notRoot) return;
  scratch = new Scratch({ tmpfs: true });
  lower = scratch.tree('lower', {
    'etc/hosts': 'localhost\n',
    'etc/passwd': 'root\n',
    'etc/conf.d/a': 'a',
    'etc/conf.d/b': 'b',
    'usr/bin/tool': '#!/bin/sh\n',
    'srv/': '',
  });
  upper = scratch.dir('upper');
  merged = scratch.dir('merged');
  run = (change) => {
    using mount = mountOverlay({ lower: [lower], upper, work: scratch.dir('work'), target: merged });
    expect(mount.fd).toBeGreaterThan(2);
    change();
  };
});
afterEach(() => scratch?.[Symbol.dispose]());
const it = needs(notRoot);

it('added, modified and deleted, and not the directories on the way', async () => {
  run(() => {
    writeFileSync(join(merged, 'etc/hosts'), '127.0.0.1 localhost\n');
    writeFileSync(join(merged, 'etc/new'), 'new', { mode: 0o600 });
    rmSync(join(merged, 'etc/passwd'));
    mkdirSync(join(merged, 'srv/www'));
    symlinkSync('/etc/new', join(merged, 'srv/www/link'));
  });
  const changes = await diffLayer(upper, [lower]);
  expect(short(changes)).toEqual(['A /etc/new', 'A /srv/www', 'A /srv/www/link', 'D /etc/passwd', 'M /etc/hosts']);
  expect(changes.find(({ path }) => path === '/etc/hosts')).toMatchObject({
    kind: 'modified',
    type: 'file',
    size: 20,
    before: { type: 'file', size: 10 },
  });
  expect(changes.find(({ path }) => path === '/etc/new')).toMatchObject({ type: 'file', size: 3, mode: 0o600, uid: 0 });
  expect(changes.find(({ path }) => path === '/srv/www/link')).toMatchObject({ type: 'symlink', size: 8 });
  expect(changes.find(({ path }) => path === '/etc/passwd')).toMatchObject({ kind: 'deleted', type: 'file', size: 5 });
});

it('metadata counts, opening for writing does not, forged times do not hide', async () => {
  run(() => {
    chmodSync(join(merged, 'etc'), 0o700);
    closeSync(openSync(join(merged, 'usr/bin/tool'), 'r+'));
    const { atime, mtime } = statSync(join(merged, 'etc/hosts'));
    writeFileSync(join(merged, 'etc/hosts'), 'evilhost!\n');
    utimesSync(join(merged, 'etc/hosts'), atime, mtime);
  });
  expect(short(await diffLayer(upper, [lower]))).toEqual(['M /etc', 'M /etc/hosts']);
});

it('a directory made anew hides what was in it', async () => {
  run(() => {
    rmSync(join(merged, 'etc'), { recursive: true });
    mkdirSync(join(merged, 'etc/conf.d'), { recursive: true });
    writeFileSync(join(merged, 'etc/conf.d/a'), 'other');
  });
  expect(short(await diffLayer(upper, [lower]))).toEqual([
    'D /etc/conf.d/b',
    'D /etc/hosts',
    'D /etc/passwd',
    'M /etc/conf.d/a',
  ]);
});

it('a file in place of a directory, and the reverse', async () => {
  run(() => {
    rmSync(join(merged, 'etc/conf.d'), { recursive: true });
    writeFileSync(join(merged, 'etc/conf.d'), 'file');
    rmSync(join(merged, 'etc/hosts'));
    mkdirSync(join(merged, 'etc/hosts'));
    writeFileSync(join(merged, 'etc/hosts/in'), '');
  });
  const changes = await diffLayer(upper, [lower]);
  expect(short(changes)).toEqual(['A /etc/hosts/in', 'M /etc/conf.d', 'M /etc/hosts']);
  expect(changes.find(({ path }) => path === '/etc/hosts')).toMatchObject({
    type: 'directory',
    before: { type: 'file' },
  });
});

it('what was made and removed again leaves nothing', async () => {
  run(() => {
    writeFileSync(join(merged, 'tmpfile'), '');
    rmSync(join(merged, 'tmpfile'));
    writeFileSync(join(merged, 'etc/x'), 'root\n');
    renameSync(join(merged, 'etc/x'), join(merged, 'etc/y'));
    linkSync(join(merged, 'etc/y'), join(merged, 'etc/z'));
  });
  expect(short(await diffLayer(upper, [lower]))).toEqual(['A /etc/y', 'A /etc/z']);
});

it('of the upper alone: by the marks of overlayfs', async () => {
  run(() => {
    writeFileSync(join(merged, 'etc/hosts'), 'x');
    writeFileSync(join(merged, 'etc/new'), '');
    rmSync(join(merged, 'etc/passwd'));
  });
  expect(short(await diffLayer(upper))).toEqual(['A /etc/new', 'D /etc/passwd', 'M /etc', 'M /etc/hosts']);
});

it('several lowers: whiteouts and opaque directories among them count', async () => {
  run(() => {
    rmSync(join(merged, 'etc/passwd'));
    rmSync(join(merged, 'etc/conf.d'), { recursive: true });
    mkdirSync(join(merged, 'etc/conf.d'));
    writeFileSync(join(merged, 'etc/conf.d/a'), 'middle');
  });
  const second = scratch.dir('second');
  const target = scratch.dir('merged2');
  using _mount = mountOverlay({ lower: [upper, lower], upper: second, work: scratch.dir('work2'), target });
  writeFileSync(join(target, 'etc/passwd'), 'back');
  writeFileSync(join(target, 'etc/conf.d/b'), 'back');
  rmSync(join(target, 'etc/conf.d/a'));
  expect(short(await diffLayer(second, [upper, lower]))).toEqual([
    'A /etc/conf.d/b',
    'A /etc/passwd',
    'D /etc/conf.d/a',
  ]);
});

it('one at a time, and stopped early without leaving descriptors', async () => {
  run(() => {
    for (let i = 0; i < 50; i++) writeFileSync(join(merged, `f${i}`), '');
  });
  const open = () => readdirSync('/proc/self/fd').length;
  const before = open();
  for await (const change of diffLayer(upper, [lower])) {
    expect(change.kind).toBe('added');
    break;
  }
  expect(open()).toBe(before);
});

it('more attributes than can be listed keep nobody from seeing what changed', async () => {
  const many = (fd: number) => {
    for (let i = 0; i < 400; i++) expect(setXattr(fd, '', `user.${i}${'x'.repeat(240)}`, Buffer.from('v'))).toBe(0);
    closeFd(fd);
  };
  run(() => {
    rmSync(join(merged, 'etc'), { recursive: true });
    mkdirSync(join(merged, 'etc'));
    writeFileSync(join(merged, 'etc/hosts'), '');
    writeFileSync(join(merged, 'etc/new'), '');
  });
  for (const name of ['etc', 'etc/hosts', 'etc/new']) many(openSync(join(upper, name), 'r'));
  expect(short(await diffLayer(upper, [lower]))).toEqual(
    expect.arrayContaining(['A /etc/new', 'D /etc/passwd', 'M /etc/hosts']),
  );
  const copy = scratch.dir('copy');
  await applyLayer(diffStream(upper), copy);
  await applyChanges(upper, copy);
  await snapshot(upper, scratch.dir('snapshot'));
  expect(readdirSync(join(copy, 'etc')).sort()).toEqual(['hosts', 'new']);
});

it('names that are not UTF-8, and a file that looks like a whiteout', async () => {
  run(() => {
    writeFileSync(Buffer.concat([Buffer.from(`${merged}/`), Buffer.of(0xff, 0x61)]), '');
    writeFileSync(join(merged, '.wh.etc'), '');
  });
  const changes = await diffLayer(upper, [lower]);
  expect(changes.map(({ path }) => path)).toEqual(['/.wh.etc', '/\udcffa']);
});

it('aborts', async () => {
  const signal = AbortSignal.abort();
  await expect(Promise.resolve(diffLayer(upper, [lower], { signal }))).rejects.toThrow(
    expect.objectContaining({ name: 'AbortError' }),
  );
});
