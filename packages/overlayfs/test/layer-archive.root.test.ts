import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  createReadStream,
  createWriteStream,
  existsSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { closeFd, getXattr, openAt, setXattr } from '@ns/libc';
import { applyLayer, diffLayer, diffStream, diffTrees, mountOverlay, treeStream } from '@ns/overlayfs';
import { needs, notRoot } from '@ns/testing';
import { everyKind } from './every-kind.ts';
import { Scratch } from './scratch.ts';

const it = needs(notRoot);
let scratch: Scratch;
beforeEach(() => {
  if (!notRoot) scratch = new Scratch({ tmpfs: true });
});
afterEach(() => scratch?.[Symbol.dispose]());

it('every kind of file goes through our writer and reader unchanged', async () => {
  const root = everyKind(scratch, 'tree');
  const copy = scratch.dir('copy');
  const { skipped, entries } = await applyLayer(treeStream(root), copy);
  expect(skipped).toEqual([]);
  expect(await diffTrees(root, copy)).toEqual([]);
  expect(await diffTrees(root, copy, { compare: 'times' })).toEqual([]);
  expect(entries).toBe((await diffTrees(scratch.dir('empty'), root)).length);
  const stat = (path: string) => statSync(join(copy, path), { bigint: true });
  expect(stat('a/file').ino).toBe(stat('b/hard').ino);
  expect(stat('a/file').nlink).toBe(2n);
  expect(stat('b/c').mtimeNs).toBe(statSync(join(root, 'b/c'), { bigint: true }).mtimeNs);
  expect(stat('sparse').blocks * 512n).toBeLessThan(1_000_000n);
});

describe('owner and mode of what is unpacked do not depend on what the directory makes of new files', () => {
  const entry = (tag: number, bits: number) => {
    const bytes = Buffer.alloc(8, 0xff);
    bytes.writeUInt16LE(tag, 0);
    bytes.writeUInt16LE(bits, 2);
    return bytes;
  };
  // linux/posix_acl_xattr.h: version 2; owner rwx, group nothing, others nothing.
  const onlyOwner = Buffer.concat([Buffer.of(2, 0, 0, 0), entry(1, 7), entry(4, 0), entry(0x20, 0)]);
  const directories: Record<string, (target: string) => void> = {
    'a plain one': () => {},
    'a umask of 077': () => void process.umask(0o077),
    'a setgid directory of another group': (target) => {
      chownSync(target, 0, 77);
      chmodSync(target, 0o2755);
    },
    'a default ACL': (target) => {
      const fd = openAt(-100, target, 0o200000);
      expect(setXattr(fd, '.', 'system.posix_acl_default', onlyOwner)).toBe(0);
      closeFd(fd);
    },
  };
  for (const [what, prepare] of Object.entries(directories)) {
    it(what, async () => {
      const root = scratch.tree('tree', Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`f${i}`, `${i}`])));
      const kinds = [
        [0o644, 0],
        [0o600, 0],
        [0o644, 7],
        [0o4755, 0],
      ] as const;
      // Each kind several times in a row, and again after another.
      for (let i = 0; i < 12; i++) {
        const [mode, uid] = kinds[Math.floor(i / 2) % 4]!;
        chownSync(join(root, `f${i}`), uid, uid);
        chmodSync(join(root, `f${i}`), mode);
      }
      const archive = [await buffer(treeStream(root))];
      const target = scratch.dir('target');
      const umask = process.umask();
      try {
        prepare(target);
        await applyLayer(archive, target);
      } finally {
        process.umask(umask);
      }
      expect(await diffTrees(root, target, { compare: 'times' })).toEqual([]);
    });
  }
});

it('device nodes that may not be made are listed, with all their names', async () => {
  const root = everyKind(scratch, 'tree');
  linkSync(join(root, 'null'), join(root, 'null-too'));
  const { skipped } = await applyLayer(treeStream(root), scratch.dir('copy'), { devices: 'skip' });
  expect(skipped.map(({ path, what }) => `${what} ${path}`)).toEqual(['device disk', 'device null', 'device null-too']);
});

it('GNU tar reads what we write: files, links, devices, times', async () => {
  const root = everyKind(scratch, 'tree');
  const archive = join(scratch.path, 'ours.tar');
  await pipeline(treeStream(root), createWriteStream(archive));
  const copy = scratch.dir('copy');
  execFileSync('tar', ['--numeric-owner', '--xattrs', '--xattrs-include=*', '-xpf', archive, '-C', copy]);
  expect(await diffTrees(root, copy, { compare: 'times' })).toEqual([]);
  expect(statSync(join(copy, 'a/file')).nlink).toBe(2);
});

for (const format of ['posix', 'gnu', 'ustar', 'v7'] as const) {
  it(`we read what GNU tar writes as ${format}`, async () => {
    const root =
      format === 'posix'
        ? everyKind(scratch, 'tree')
        : scratch.tree('tree', { 'a/b': 'x'.repeat(1000), 'c/': '', d: '' });
    if (format !== 'v7' && format !== 'ustar') symlinkSync('a'.repeat(200), join(root, 'long-link'));
    const archive = join(scratch.path, 'theirs.tar');
    const xattrs = format === 'posix' ? ['--xattrs', '--xattrs-include=*'] : [];
    execFileSync('tar', ['--numeric-owner', `--format=${format}`, ...xattrs, '-cf', archive, '-C', root, '.']);
    const copy = scratch.dir('copy');
    await applyLayer(createReadStream(archive, { highWaterMark: 777 }), copy);
    expect(await diffTrees(root, copy, format === 'posix' ? { compare: 'times' } : {})).toEqual([]);
  });
}

it('the same tree has the same bytes, wherever it is and whenever it was read', async () => {
  const digest = async (root: string) => {
    const hash = createHash('sha256');
    for await (const chunk of treeStream(root)) hash.update(chunk);
    return hash.digest('hex');
  };
  const root = everyKind(scratch, 'tree');
  const copy = scratch.dir('elsewhere/copy');
  const first = await digest(root);
  await applyLayer(treeStream(root), copy);
  expect(await digest(root)).toBe(first);
  expect(await digest(copy)).toBe(first);
});

it('a file over 8 GiB keeps its size, and its holes cost nothing', async () => {
  const root = scratch.dir('tree');
  const fd = openSync(join(root, 'big'), 'w');
  ftruncateSync(fd, 9 * 2 ** 30);
  writeSync(fd, 'end', 9 * 2 ** 30 - 3);
  closeSync(fd);
  let header: Buffer | undefined;
  const stream = treeStream(root);
  for await (const chunk of stream) {
    header = chunk as Buffer;
    break;
  }
  expect(header?.toString('latin1', 512, 512 + 40)).toContain(`size=${9 * 2 ** 30}\n`);
  expect(header?.[1024 + 124]).toBe(0x80);
  writeFileSync(join(scratch.path, 'head.tar'), header!.subarray(0, 1536));
  const listed = execFileSync('sh', ['-c', `tar -tvf ${scratch.path}/head.tar 2>/dev/null || true`], {
    encoding: 'utf8',
  });
  expect(listed).toContain(String(9 * 2 ** 30));
});

it('a layer: whiteouts and opaque directories as OCI says, and back as the kernel does', async () => {
  const lower = scratch.tree('lower', {
    'etc/hosts': 'h',
    'etc/passwd': 'p',
    'opt/app/old': 'o',
    'opt/app/same': 's',
    'srv/x': '',
  });
  const upper = scratch.dir('upper');
  const merged = scratch.dir('merged');
  using _mount = mountOverlay({ lower: [lower], upper, work: scratch.dir('work'), target: merged });
  rmSync(join(merged, 'etc/passwd'));
  rmSync(join(merged, 'opt/app'), { recursive: true });
  mkdirSync(join(merged, 'opt/app'));
  writeFileSync(join(merged, 'opt/app/new'), 'n');
  rmSync(join(merged, 'srv'), { recursive: true });
  const archive = join(scratch.path, 'layer.tar');
  await pipeline(diffStream(upper), createWriteStream(archive));
  const names = execFileSync('tar', ['-tf', archive], { encoding: 'utf8' }).trim().split('\n');
  expect(names).toEqual([
    'etc/',
    'etc/.wh.passwd',
    'opt/',
    'opt/app/',
    'opt/app/.wh..wh..opq',
    'opt/app/new',
    '.wh.srv',
  ]);

  const flat = scratch.dir('flat');
  await applyLayer(treeStream(lower), flat);
  await applyLayer(createReadStream(archive), flat);
  expect(await diffTrees(merged, flat, { compare: 'times' })).toEqual([]);

  const layer = scratch.dir('layer');
  await applyLayer(createReadStream(archive), layer, { whiteouts: 'overlay' });
  const again = scratch.dir('again');
  using _again = mountOverlay({ lower: [layer, lower], target: again });
  expect(await diffTrees(merged, again)).toEqual([]);
  expect(await diffLayer(layer, [lower])).toEqual(
    (await diffLayer(upper, [lower])).map((change) =>
      expect.objectContaining({ kind: change.kind, path: change.path }),
    ),
  );
});

it('overlayfs attributes do not travel, in either direction', async () => {
  const upper = scratch.tree('upper', { 'd/f': '' });
  const fd = openAt(-100, upper, 0o200000);
  setXattr(fd, 'd', 'trusted.overlay.impure', Buffer.from('y'));
  setXattr(fd, 'd/f', 'user.overlay.origin', Buffer.from('x'));
  closeFd(fd);
  const archive = join(scratch.path, 'a.tar');
  await pipeline(diffStream(upper), createWriteStream(archive));
  expect(readFileSync(archive, 'latin1')).not.toContain('overlay');
  execFileSync('tar', ['--xattrs', '--xattrs-include=*', '--format=posix', '-cf', archive, '-C', upper, '.']);
  expect(readFileSync(archive, 'latin1')).toContain('overlay');
  const copy = scratch.dir('copy');
  await applyLayer(createReadStream(archive), copy);
  const copyFd = openAt(-100, copy, 0o200000);
  expect(getXattr(copyFd, 'd', 'trusted.overlay.impure')).toBeUndefined();
  expect(getXattr(copyFd, 'd/f', 'user.overlay.origin')).toBeUndefined();
  closeFd(copyFd);
});

it('what an OCI layer cannot say is refused, not lost', async () => {
  const upper = scratch.tree('upper', { '.wh.x': '' });
  const error = await diffStream(upper)
    .toArray()
    .catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: 'ERR_NS_UNREPRESENTABLE', path: '.wh.x' });
  const excluded = await diffStream(upper, { exclude: (path) => path === '.wh.x' }).toArray();
  expect(Buffer.concat(excluded)).toEqual(Buffer.alloc(1024));
});

it('sockets are left out, owners are mapped', async () => {
  const root = scratch.tree('tree', { f: '' });
  const server = createServer().listen(join(root, 'socket'));
  await new Promise((resolve) => server.once('listening', resolve));
  const copy = scratch.dir('copy');
  await applyLayer(treeStream(root, { mapOwner: ({ uid, gid }) => ({ uid: uid + 5, gid: gid + 6 }) }), copy);
  server.close();
  expect(readdirSync(copy)).toEqual(['f']);
  expect(lstatSync(join(copy, 'f'))).toMatchObject({ uid: 5, gid: 6 });
  expect(existsSync(join(copy, 'socket'))).toBe(false);
});
