import {
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { AT_FDCWD, closeFd, MOUNT_ATTR, openAt, RENAME, renameAt } from '@ns/libc';
import {
  attachMount,
  bindMount,
  cloneMount,
  createMount,
  createUserNamespace,
  idmapMount,
  listMounts,
  type MountInfo,
  makePrivate,
  makeShared,
  makeSlave,
  makeUnbindable,
  mountFileSystem,
  mountsBelow,
  moveMount,
  openMount,
  openRoot,
  readMountinfo,
  reconfigureFileSystem,
  resolveInRoot,
  setMountAttributes,
  statMount,
  unmount,
  unmountAll,
} from '@ns/mounts';
import { kernelState, leftSince, needs, notRoot, processEntries } from '@ns/testing';

const it = needs(notRoot);
const path = (...parts: string[]) => join(base, ...parts);
const dir = (...parts: string[]) => {
  mkdirSync(path(...parts), { recursive: true });
  return path(...parts);
};
const at = (target: string): MountInfo | undefined => readMountinfo().findLast((mount) => mount.target === target);

let base: string;
beforeEach(() => {
  if (notRoot) return;
  base = mkdtempSync(join(tmpdir(), 'mounts-'));
  using scratch = mountFileSystem({ type: 'tmpfs', source: 'scratch', target: base });
  makePrivate(scratch);
});
afterEach(() => {
  if (notRoot) return;
  unmountAll(base);
  expect(mountsBelow(base)).toEqual([]);
  rmSync(base, { recursive: true });
});

it('a new file system has its attributes before anybody can see it', () => {
  using mount = createMount({
    type: 'tmpfs',
    source: 'my name',
    options: ['size=1m', 'mode=700', 'nosuid', 'nodev', 'noexec', 'ro', 'noatime'],
  });
  expect(at(dir('t'))).toBeUndefined();
  attachMount(mount, path('t'));
  const info = at(path('t'));
  expect(info).toMatchObject({ type: 'tmpfs', source: 'my name' });
  expect([...info!.options].sort()).toEqual(['noatime', 'nodev', 'noexec', 'nosuid', 'ro']);
  expect(info!.superOptions).toEqual(expect.arrayContaining(['size=1024k', 'mode=700']));
});

it('what the file system says about a mistake is in the error', () => {
  expect(() => createMount({ type: 'tmpfs', options: ['size=nonsense'] })).toThrow(
    expect.objectContaining({
      code: 'EINVAL',
      syscall: 'fsconfig',
      message: expect.stringContaining("Bad value for 'size'"),
    }),
  );
  expect(() => createMount({ type: 'nosuchfs' })).toThrow(expect.objectContaining({ code: 'ENODEV' }));
});

it('a detached mount that is closed leaves nothing', () => {
  const before = readMountinfo().length;
  createMount({ type: 'tmpfs' }).close();
  cloneMount(base).close();
  expect(readMountinfo()).toHaveLength(before);
});

it('rbind and rro reach the mounts below, bind and ro do not', () => {
  dir('src/sub');
  mountFileSystem({ type: 'tmpfs', target: path('src/sub') }).close();
  bindMount(path('src'), dir('plain'), { readonly: true }).close();
  expect(at(path('plain'))?.options).toContain('ro');
  expect(at(path('plain/sub'))).toBeUndefined();
  bindMount(path('src'), dir('deep'), { recursive: true, readonly: true }).close();
  expect(at(path('deep/sub'))?.options).toContain('ro');
  expect(() => writeFileSync(path('deep/sub/x'), '')).toThrow(expect.objectContaining({ code: 'EROFS' }));
  bindMount(path('src'), dir('mixed'), { options: ['rbind', 'ro', 'rnosuid'] }).close();
  expect(at(path('mixed'))?.options).toEqual(expect.arrayContaining(['ro', 'nosuid']));
  expect(at(path('mixed/sub'))?.options).toEqual(expect.arrayContaining(['rw', 'nosuid']));
  writeFileSync(path('src/still-writable'), '');
});

it('readonly has the last word, whatever the options say', () => {
  dir('src/sub');
  mountFileSystem({ type: 'tmpfs', target: path('src/sub') }).close();
  for (const options of [['rw'], ['rrw'], ['rbind', 'rw'], ['rbind', 'rrw']]) {
    const target = dir(options.join());
    bindMount(path('src'), target, { readonly: true, options }).close();
    const shown = mountsBelow(target).map((mount) => mount.options.includes('ro'));
    expect([options, shown]).toEqual([options, options.includes('rbind') ? [true, true] : [true]]);
  }
});

it('the recursive options are those of a new file system, too', () => {
  mountFileSystem({ type: 'tmpfs', target: dir('t'), options: ['rro', 'rnosuid', 'nodev', 'rdev', 'rshared'] }).close();
  expect(at(path('t'))).toMatchObject({ propagation: { shared: expect.any(Number) } });
  expect([...at(path('t'))!.options].sort()).toEqual(['nosuid', 'relatime', 'ro']);
});

it('a single file is bound on a file', () => {
  writeFileSync(path('from'), 'content');
  writeFileSync(path('onto'), '');
  bindMount(path('from'), path('onto'), { readonly: true }).close();
  expect(readFileSync(path('onto'), 'utf8')).toBe('content');
  expect(unmount(path('onto'))).toBe(true);
  expect(readFileSync(path('onto'), 'utf8')).toBe('');
});

it('every propagation type', () => {
  const target = dir('p');
  mountFileSystem({ type: 'tmpfs', target }).close();
  makeShared(target);
  expect(at(target)?.propagation.shared).toBeGreaterThan(0);
  bindMount(target, dir('copy')).close();
  makeSlave(path('copy'));
  expect(at(path('copy'))?.propagation.master).toBe(at(target)?.propagation.shared);
  mkdirSync(join(target, 'in'));
  mountFileSystem({ type: 'tmpfs', target: join(target, 'in') }).close();
  expect(at(path('copy/in'))?.type).toBe('tmpfs');
  makeShared(path('copy'));
  expect(at(path('copy'))?.propagation).toMatchObject({ shared: expect.any(Number), master: expect.any(Number) });
  makePrivate(target, { recursive: true });
  expect(at(target)?.propagation).toEqual({ unbindable: false });
  makeUnbindable(target);
  expect(at(target)?.propagation.unbindable).toBe(true);
  expect(() => cloneMount(target)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
});

it('moved with all below it', () => {
  dir('a');
  mountFileSystem({ type: 'tmpfs', target: path('a') }).close();
  dir('a/sub');
  mountFileSystem({ type: 'tmpfs', target: path('a/sub') }).close();
  const { id } = at(path('a'))!;
  moveMount(path('a'), dir('b'));
  expect(at(path('a'))).toBeUndefined();
  expect(at(path('b'))?.id).toBe(id);
  expect(at(path('b/sub'))?.type).toBe('tmpfs');
});

const [major = 0, minor = 0] = release().split('.').map(Number);
const noBeneath = major > 6 || (major === 6 && minor >= 5) ? undefined : 'no mount beneath another before Linux 6.5';

needs(notRoot ?? noBeneath)('put beneath what is mounted', () => {
  mountFileSystem({ type: 'tmpfs', target: dir('b') }).close();
  writeFileSync(path('b/old'), '');
  using next = createMount({ type: 'tmpfs' });
  writeFileSync(join(next.procPath, 'new'), '');
  moveMount(next, path('b'), { beneath: true });
  expect(readdirSync(path('b'))).toContain('old');
  unmount(path('b'), 'detach');
  expect(readdirSync(path('b'))).toEqual(['new']);
});

it('attributes and sizes of what is mounted can be changed', () => {
  mountFileSystem({ type: 'tmpfs', target: dir('t'), options: ['size=1m'] }).close();
  using mount = openMount(path('t'));
  setMountAttributes(mount, { set: MOUNT_ATTR.NOEXEC | MOUNT_ATTR.RDONLY });
  expect(at(path('t'))?.options).toEqual(expect.arrayContaining(['noexec', 'ro']));
  setMountAttributes(mount, { clear: MOUNT_ATTR.RDONLY });
  expect(at(path('t'))?.options).toContain('rw');
  reconfigureFileSystem(path('t'), ['size=2m']);
  expect(at(path('t'))?.superOptions).toContain('size=2048k');
  reconfigureFileSystem(mount, ['ro']);
  expect(at(path('t'))?.superOptions).toContain('ro');
});

it('unmounting: busy, detached, twice', () => {
  mountFileSystem({ type: 'tmpfs', target: dir('t') }).close();
  const fd = openAt(AT_FDCWD, path('t'), 0);
  expect(() => unmount(path('t'))).toThrow(
    expect.objectContaining({ code: 'EBUSY', hint: expect.stringContaining('detach') }),
  );
  expect(() => unmount(path('t'), 'expire')).toThrow(expect.objectContaining({ code: 'EBUSY' }));
  expect(unmount(path('t'), 'detach')).toBe(true);
  closeFd(fd);
  expect(unmount(path('t'), 'detach')).toBe(false);
  expect(unmount(path('nothing-here'))).toBe(false);
  mountFileSystem({ type: 'tmpfs', target: path('t') }).close();
  expect(() => unmount(path('t'), 'expire')).toThrow(expect.objectContaining({ code: 'EAGAIN' }));
  expect(unmount(path('t'), 'expire')).toBe(true);
  symlinkSync('/proc', path('link'));
  expect(unmount(path('link'))).toBe(false);
});

let noStatmount: string | undefined;
try {
  listMounts();
} catch {
  noStatmount = 'no listmount(2)';
}

needs(notRoot ?? noStatmount)('statmount agrees with mountinfo about every mount', () => {
  mountFileSystem({
    type: 'tmpfs',
    target: dir('odd name\n,:\\'),
    source: 'src',
    options: ['size=1m', 'nosuid'],
  }).close();
  makeShared(path('odd name\n,:\\'));
  const byId = new Map(readMountinfo().map((mount) => [mount.id, mount]));
  const ids = listMounts();
  expect(ids.length).toBeGreaterThanOrEqual(byId.size - 1);
  for (const id of ids) {
    const status = statMount(id);
    const info = byId.get(status.oldId)!;
    expect(status).toMatchObject({
      oldParentId: info.parentId,
      major: info.major,
      minor: info.minor,
      root: info.root,
      target: info.target,
      type: info.type,
      propagation: info.propagation,
    });
    expect(status.attributes & MOUNT_ATTR.RDONLY).toBe(info.options.includes('ro') ? MOUNT_ATTR.RDONLY : 0);
    if (status.source !== undefined) expect(status.source).toBe(info.source);
  }
  expect(() => statMount(2n ** 40n)).toThrow(expect.objectContaining({ code: 'ENOENT' }));
});

it('hostile roots: every target a link to /, and nothing of the host is touched', () => {
  const root = dir('root');
  for (const [name, to] of [
    ['proc', '/'],
    ['sys', '../../../..'],
    ['dev', '/..'],
    ['etc', 'proc'],
    ['loop', 'loop'],
  ] as const)
    symlinkSync(to, path('root', name));
  using rootFd = openRoot(root);
  const before = readMountinfo().filter(({ target }) => !target.startsWith(base)).length;
  for (const target of ['/proc', '/sys/x', '/dev', '/etc/a/b']) {
    using place = resolveInRoot(rootFd.fd, target, { create: 'directory' });
    mountFileSystem({ type: 'tmpfs', target: place }).close();
  }
  expect(readMountinfo().filter(({ target }) => !target.startsWith(base))).toHaveLength(before);
  expect(mountsBelow(root).length).toBeGreaterThanOrEqual(4);
});

it('a target that is swapped for a link between looking and mounting is mounted on all the same (CVE-2021-30465)', () => {
  const root = dir('root');
  dir('root/volume');
  dir('outside');
  symlinkSync(path('outside'), path('root/evil'));
  using rootFd = openRoot(root);
  using place = resolveInRoot(rootFd.fd, '/volume', { create: 'directory' });
  const fd = openAt(AT_FDCWD, root, 0);
  expect(renameAt(fd, 'volume', fd, 'evil', RENAME.EXCHANGE)).toBe(0);
  closeFd(fd);
  mountFileSystem({ type: 'tmpfs', target: place }).close();
  expect(at(path('outside'))).toBeUndefined();
  expect(at(path('root/evil'))?.type).toBe('tmpfs');
});

it('who makes a user namespace may be killed at any moment: nobody waits for ever, and nothing of it stays', async () => {
  const ids = [{ container: 0, host: 100_000, size: 1 }];
  const children = () => processEntries().filter(({ parent, state }) => parent === process.pid && state !== 'Z');
  for (let round = 0; round < 50; round++) {
    const before = new Set(children().map(({ pid }) => pid));
    const made = createUserNamespace({ uids: ids, gids: ids }).then(
      (namespace) => namespace.close(),
      ({ code }) => expect(code).toBe('ECHILD'),
    );
    for (const { pid } of children().filter(({ pid }) => !before.has(pid))) process.kill(pid, 'SIGKILL');
    await made;
  }
});

it('ids are mapped on a mount, the files on disk keep theirs', async () => {
  // The stage stays open for the next launch.
  (
    await createUserNamespace({
      uids: [{ container: 0, host: 0, size: 1 }],
      gids: [{ container: 0, host: 0, size: 1 }],
    })
  ).close();
  const before = kernelState();
  // Not on the tmpfs of these tests, whose ids can be mapped since 6.3 only.
  const source = mkdtempSync(join(tmpdir(), 'mounts-owned-'));
  using _removal = { [Symbol.dispose]: () => rmSync(source, { recursive: true }) };
  writeFileSync(join(source, 'root'), '');
  writeFileSync(join(source, 'user'), '');
  chownSync(join(source, 'user'), 1000, 1000);
  {
    using maps = await createUserNamespace({
      uids: [
        { container: 0, host: 100_000, size: 1 },
        { container: 1000, host: 5, size: 1 },
      ],
      gids: [{ container: 0, host: 200_000, size: 2000 }],
    });
    const place = dir('mapped');
    bindMount(source, place, { userNamespace: maps }).close();
    expect(statSync(join(place, 'root'))).toMatchObject({ uid: 100_000, gid: 200_000 });
    expect(statSync(join(place, 'user'))).toMatchObject({ uid: 5, gid: 201_000 });
    expect(statSync(join(source, 'root'))).toMatchObject({ uid: 0, gid: 0 });
    using attached = openMount(place);
    expect(() => idmapMount(attached, maps)).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('mapped already') }),
    );
  }
  expect(await leftSince({ ...before, mounts: kernelState().mounts })).toEqual([]);
  await expect(createUserNamespace({ uids: [], gids: [] })).rejects.toMatchObject({
    code: 'ERR_NS_INVALID_SPEC',
    field: 'uids',
  });
  await expect(
    createUserNamespace({ uids: [{ container: 0, host: 0, size: 0 }], gids: [{ container: 0, host: 0, size: 1 }] }),
  ).rejects.toMatchObject({ code: 'EINVAL' });
});
