import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { O, open } from '@ns/libc';
import { unmountAll } from '@ns/mounts';
import { applyLayer, diffTrees, mountOverlay, stackStream, treeStream } from '@ns/overlayfs';
import { needs, notRoot } from '@ns/testing';
import { tarStream } from '../src/tar-stream.ts';
import { walkLayer } from '../src/walk-layer.ts';
import { walkStack } from '../src/walk-stack.ts';
import { Scratch } from './scratch.ts';

const test = needs(notRoot);
let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch();
});
afterEach(() => scratch[Symbol.dispose]());

/** Writes through an overlay, so that the marks are the kernel's own. */
function change(lower: readonly string[], name: string, act: (root: string) => void, userxattr = false): string {
  const [upper, work, target] = ['upper', 'work', 'merged'].map((part) => scratch.dir(`${name}-${part}`)) as [
    string,
    string,
    string,
  ];
  using _mount = mountOverlay({ lower, upper, work, target, userxattr });
  try {
    act(target);
  } finally {
    unmountAll(target);
  }
  return upper;
}

describe.each([false, true])('with userxattr %s', (userxattr) => {
  test('a stack is what the kernel shows, byte for byte', async () => {
    const base = scratch.dir('base');
    for (const name of ['kept', 'gone', 'remade', 'file-to-dir', 'dir-to-file'])
      mkdirSync(join(base, name, 'inner'), { recursive: true });
    rmSync(join(base, 'file-to-dir'), { recursive: true });
    for (const name of ['kept/a', 'gone/b', 'remade/c', 'file-to-dir', 'dir-to-file/d', 'top', 'kept/inner/e'])
      writeFileSync(join(base, name), name);
    chownSync(join(base, 'kept/a'), 33, 34);
    symlinkSync('/etc/passwd', join(base, 'link'));
    const middle = change(
      [base],
      'middle',
      (root) => {
        rmSync(join(root, 'gone'), { recursive: true });
        rmSync(join(root, 'remade'), { recursive: true });
        mkdirSync(join(root, 'remade'));
        writeFileSync(join(root, 'remade/new'), 'x');
        rmSync(join(root, 'file-to-dir'));
        mkdirSync(join(root, 'file-to-dir'));
        writeFileSync(join(root, 'file-to-dir/now'), 'x');
      },
      userxattr,
    );
    const top = change(
      [middle, base],
      'top',
      (root) => {
        rmSync(join(root, 'dir-to-file'), { recursive: true });
        writeFileSync(join(root, 'dir-to-file'), 'x');
        rmSync(join(root, 'top'));
        mkdirSync(join(root, 'gone'));
        writeFileSync(join(root, 'kept/inner/f'), 'x');
        rmSync(join(root, 'remade/new'));
      },
      userxattr,
    );

    const view = scratch.dir('view');
    using _mount = mountOverlay({ lower: [top, middle, base], target: view, userxattr });
    try {
      const [stacked, merged] = await Promise.all([
        stackStream([top, middle, base]).toArray(),
        treeStream(view).toArray(),
      ]);
      expect(Buffer.concat(stacked).equals(Buffer.concat(merged))).toBe(true);
      await applyLayer(stackStream([top, middle, base]), scratch.dir('unpacked'));
      expect(await diffTrees(view, scratch.dir('unpacked'))).toEqual([]);
    } finally {
      unmountAll(view);
    }
  });
});

test('what is mounted inside a layer does not show', async () => {
  const base = scratch.dir('base');
  mkdirSync(join(base, 'place'));
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', join(base, 'place')]);
  try {
    writeFileSync(join(base, 'place/secret'), 'x');
    expect(Buffer.concat(await stackStream([base]).toArray()).includes('secret')).toBe(false);
  } finally {
    unmountAll(join(base, 'place'));
  }
});

test('owners are translated layer by layer', async () => {
  const [top, base] = [scratch.dir('top'), scratch.dir('base')];
  for (const [layer, name] of [
    [top, 'a'],
    [base, 'b'],
  ] as const) {
    writeFileSync(join(layer, name), name);
    chownSync(join(layer, name), 100_007, 7);
  }
  const mapOwner = ({ uid, gid }: { uid: number; gid: number }) => ({ uid: uid - 100_000, gid });
  await applyLayer(stackStream([{ directory: top, mapOwner }, base]), scratch.dir('unpacked'));
  const { stdout } = {
    stdout: execFileSync('stat', ['-c', '%u', `${scratch.path}/unpacked/a`, `${scratch.path}/unpacked/b`], {
      encoding: 'utf8',
    }),
  };
  expect(stdout).toBe('7\n100007\n');
});

test('what is left out of an archive is not walked either', async () => {
  const upper = scratch.tree('upper', { 'kept/a': '', 'left/b/c': '' });
  const lower = scratch.tree('lower', { 'left/d': '', 'kept/e': '' });
  using plain = open(upper, O.RDONLY | O.DIRECTORY);
  for (const [walk, names] of [
    [() => walkStack([upper, lower]), ['kept', 'kept/a', 'kept/e', 'left']],
    [() => walkLayer(plain, { whiteouts: 'none' }), ['kept', 'kept/a', 'left']],
  ] as const) {
    const walked: string[] = [];
    const entries = function* (): ReturnType<typeof walkStack> {
      const steps = walk();
      for (let next = steps.next(); !next.done; ) {
        walked.push(next.value.path);
        next = steps.next(yield next.value);
      }
    };
    const archive = tarStream(entries, { kind: 'tree', exclude: (path) => path === 'left' });
    const copy = scratch.dir(`copy-${names.length}`);
    await applyLayer(archive, copy);
    expect(walked).toEqual(names);
    expect(readdirSync(copy)).toEqual(['kept']);
  }
});
