import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RESOLVE } from '@ns/libc';
import { openRoot, type ResolveOptions, resolveInRoot } from '@ns/mounts';
import fc from 'fast-check';

let base: string;
let root: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'resolve-'));
  root = join(base, 'root');
  mkdirSync(root);
  mkdirSync(join(base, 'outside'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

function resolve(path: string, options?: ResolveOptions): string {
  using rootFd = openRoot(root);
  using found = resolveInRoot(rootFd.fd, path, options);
  return readlinkSync(found.procPath).replace(root, '') || '/';
}

test('plain, absolute and doubled slashes all mean the same', () => {
  mkdirSync(join(root, 'a/b'), { recursive: true });
  for (const path of ['a/b', '/a/b', '//a///b/', './a/./b']) expect(resolve(path)).toBe('/a/b');
  expect(resolve('/')).toBe('/');
  expect(resolve('')).toBe('/');
});

test('dots never leave the root', () => {
  expect(resolve('../../..')).toBe('/');
  mkdirSync(join(root, 'a'));
  expect(resolve('a/../../../a')).toBe('/a');
});

test.each(['/', '../../../..', '/etc', '../outside'])('a link to %s stays inside', (target) => {
  symlinkSync(target, join(root, 'link'));
  const resolved = resolve('link/made/here', { create: 'directory' });
  expect(resolved.endsWith('/made/here')).toBe(true);
  expect(statSync(join(root, resolved)).isDirectory()).toBe(true);
});

test('dots below what is made on the way', () => {
  expect(resolve('new/../../../beside', { create: 'directory' })).toBe('/beside');
});

test('however many components are missing', () => {
  const path = '/d'.repeat(300);
  expect(resolve(path, { create: 'directory' })).toBe(path);
});

test('missing components are made, a file at the end', () => {
  expect(resolve('etc/x/hosts', { create: 'file' })).toBe('/etc/x/hosts');
  expect(readFileSync(join(root, 'etc/x/hosts'), 'utf8')).toBe('');
  writeFileSync(join(root, 'etc/x/hosts'), 'kept');
  resolve('etc/x/hosts', { create: 'file' });
  expect(readFileSync(join(root, 'etc/x/hosts'), 'utf8')).toBe('kept');
});

test('a dangling link is made good inside the root', () => {
  mkdirSync(join(root, 'etc'));
  symlinkSync('../run/systemd/resolve/stub-resolv.conf', join(root, 'etc/resolv.conf'));
  expect(resolve('/etc/resolv.conf', { create: 'file' })).toBe('/run/systemd/resolve/stub-resolv.conf');
  symlinkSync('/nowhere/dir', join(root, 'etc/abs'));
  expect(resolve('/etc/abs/sub', { create: 'directory' })).toBe('/nowhere/dir/sub');
});

test.each([
  ['missing', undefined, 'ENOENT'],
  ['file/below', { create: 'directory' }, 'ENOTDIR'],
  ['file', { create: 'directory' }, 'ENOTDIR'],
  ['dir', { create: 'file' }, 'EISDIR'],
  ['loop', { create: 'directory' }, 'ELOOP'],
  ['loop-dangling/x', { create: 'directory' }, 'ELOOP'],
  ['link', { create: 'directory', resolve: RESOLVE.NO_SYMLINKS }, 'ELOOP'],
  ['magic/1/root', undefined, 'ENOENT'],
  ['nul\0', undefined, 'ERR_NS_INVALID_SPEC'],
] as const)('%s with %j is %s', (path, options, code) => {
  writeFileSync(join(root, 'file'), '');
  mkdirSync(join(root, 'dir'));
  symlinkSync('dir', join(root, 'link'));
  symlinkSync('loop', join(root, 'loop'));
  symlinkSync('loop-dangling/y', join(root, 'loop-dangling'));
  expect(() => resolve(path, options)).toThrow(expect.objectContaining({ code }));
});

test('magic links are not followed', () => {
  using proc = openRoot('/proc');
  expect(() => resolveInRoot(proc.fd, 'self/root')).toThrow(expect.objectContaining({ code: 'ELOOP' }));
});

test('no tree of links and no path makes anything outside', () => {
  const name = fc.constantFrom('a', 'b', 'c', '..', '.', '');
  const path = fc.array(name, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('/'));
  const link = fc.tuple(fc.constantFrom('a', 'b', 'c'), path, fc.boolean());
  fc.assert(
    fc.property(
      fc.array(link, { maxLength: 3 }),
      path,
      fc.constantFrom('directory', 'file'),
      (links, wanted, create) => {
        rmSync(root, { recursive: true, force: true });
        mkdirSync(root);
        for (const [from, to, absolute] of links) {
          try {
            symlinkSync(`${absolute ? '/' : ''}${to || '.'}`, join(root, from));
          } catch {
            // the same name twice
          }
        }
        try {
          resolve(wanted, { create });
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^(ELOOP|ENOTDIR|EISDIR|ERR_NS_INVALID_SPEC)$/) });
        }
        expect(statSync(base).nlink).toBe(4);
      },
    ),
    { numRuns: 200 },
  );
});
