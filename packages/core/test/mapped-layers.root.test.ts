import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Container, run } from '@ns/core';
import { attachMount, createMount, unmount } from '@ns/mounts';
import { needs, notRoot } from '@ns/testing';

const test = needs(notRoot);
let dir: string;
let layers: string[];

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'ns-layers-'));
  // A directory that only root may enter: the layers are handed over, not looked up.
  chmodSync(dir, 0o700);
  layers = ['top', 'base'].map((name) => join(dir, name));
  for (const layer of layers) mkdirSync(join(layer, 'bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(layers[1]!, 'bin/busybox'));
  mkdirSync(join(layers[1]!, 'etc'));
  writeFileSync(join(layers[1]!, 'etc/private'), 'for root\n', { mode: 0o600 });
  writeFileSync(join(layers[0]!, 'etc-of-33'), 'x');
  chownSync(join(layers[0]!, 'etc-of-33'), 33, 34);
});

afterAll(() => {
  expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(dir);
  rmSync(dir, { recursive: true, force: true });
});

const script = `
  busybox stat -c %u:%g /etc/private /etc-of-33
  busybox cat /etc/private
  echo more >> /etc/private && busybox chown 7:8 /etc/private && busybox stat -c %u:%g /etc/private
  busybox rm /etc-of-33 && busybox grep -c . /proc/self/uid_map
`;

for (const [name, root] of [
  ['layers', () => ({ layers })],
  ['a directory', () => ({ dir: layers[1]! })],
  ['a path', () => layers[1]!],
] as const) {
  test(`the files of ${name} belong to whom the image says, although the container's ids are others outside`, async () => {
    const { stdout, stderr } = await run('/bin/busybox', ['sh', '-c', script], { rootfs: root(), idMap: 'auto' });
    if (name === 'layers') expect([stdout, stderr]).toEqual(['0:0\n33:34\nfor root\n7:8\n1\n', '']);
    else expect(stdout).toMatch(/^0:0\nfor root\n7:8\n/);
    expect(statSync(join(layers[1]!, 'etc/private'))).toMatchObject({ uid: 0, size: 9 });
  });
}

test('changes are compared with the layers; a restart finds them again', async () => {
  await using container = await Container.create({
    command: ['/bin/busybox', 'sh', '-c', 'busybox cat /etc/private; echo more >> /etc/private; echo new > /new'],
    rootfs: { layers },
    idMap: 'auto',
  });
  await container.start();
  expect((await container.wait()).stdout).toBe('for root\n');
  await container.start();
  expect((await container.wait()).stdout).toContain('for root\nmore\n');
  const changes = (await container.diff()).map(({ kind, path }) => `${kind} ${path}`);
  expect(changes).toEqual(expect.arrayContaining(['modified /etc/private', 'added /new']));
  expect(changes).not.toContain('added /etc/private');
});

test('a directory that something below it was changed in is not changed by that, whoever made it', async () => {
  await using container = await Container.create({
    command: ['/bin/busybox', 'sh', '-c', 'echo 1 > /etc/new; echo 1 > /new'],
    rootfs: layers[1]!,
    idMap: 'auto',
  });
  await container.start();
  await container.wait();
  const changes = (await container.diff()).map(({ kind, path }) => `${kind} ${path}`);
  expect(changes).toEqual(['added /etc/new', 'added /new']);
});

test('a root that is written itself is the container root’s, and what is written belongs to the ids inside', async () => {
  const root = mkdtempSync(join(dir, 'direct-'));
  mkdirSync(join(root, 'bin'));
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  const spec = { rootfs: root, writable: 'direct', idMap: 'auto' } as const;
  const { stdout, stderr } = await run(
    '/bin/busybox',
    ['sh', '-c', 'busybox stat -c %u:%g / /bin; echo x > /new && busybox chown 7:8 /new'],
    spec,
  );
  expect([stdout, stderr]).toEqual(['0:0\n0:0\n', '']);
  expect(statSync(join(root, 'new'))).toMatchObject({ uid: 7, gid: 8 });
  const mounted = await run('/bin/busybox', ['grep', ` ${root} / `, '/proc/self/mountinfo'], spec);
  expect(mounted.stdout).toMatch(/ rw,nodev\S*,idmapped /);
  expect(String(Container.explain({ ...spec, command: ['true'] }))).toContain(`use ${root} itself as the root`);
});

test('a root that is written itself is refused where its file system cannot map ids', async () => {
  const place = mkdtempSync(join(tmpdir(), 'ns-unmappable-'));
  {
    using mount = createMount({ type: 'ramfs' });
    attachMount(mount, place);
  }
  try {
    await expect(run('true', { rootfs: place, writable: 'direct', idMap: 'auto' })).rejects.toMatchObject({
      code: 'ERR_NS_UNAVAILABLE',
      message: expect.stringContaining('cannot map ids'),
      hint: expect.stringContaining('Leave idMap out'),
    });
  } finally {
    unmount(place);
    rmSync(place, { recursive: true });
  }
});

test('owners of changes are those inside, also above layers whose file system cannot map ids', async () => {
  // Not handed over, but looked up by the container's root.
  const place = mkdtempSync(join(tmpdir(), 'ns-unmappable-'));
  {
    // ramfs has no FS_ALLOW_IDMAP; tmpfs had none before Linux 6.3.
    using mount = createMount({ type: 'ramfs' });
    attachMount(mount, place);
  }
  try {
    chmodSync(place, 0o755);
    mkdirSync(join(place, 'bin'));
    copyFileSync('/bin/busybox', join(place, 'bin/busybox'));
    writeFileSync(join(place, 'of-the-image'), 'x', { mode: 0o666 });
    chmodSync(join(place, 'of-the-image'), 0o666);
    for (const writable of ['tmpfs', { dir: join(dir, 'kept-above') }] as const) {
      await using container = await Container.create({
        command: ['/bin/busybox', 'sh', '-c', 'echo > /mine; busybox chown 7:8 /mine; busybox rm /of-the-image'],
        rootfs: place,
        writable,
        idMap: 'auto',
      });
      await container.start();
      expect((await container.wait()).stderr).toMatch(/^$|of-the-image/);
      const changes = await container.diff();
      expect(changes).toContainEqual(expect.objectContaining({ kind: 'added', path: '/mine', uid: 7, gid: 8 }));
      // Root of the host is nobody inside.
      const deleted = changes.find(({ path }) => path === '/of-the-image');
      if (deleted) expect(deleted).toMatchObject({ kind: 'deleted', uid: 65534, gid: 65534 });
    }
  } finally {
    unmount(place);
    rmSync(place, { recursive: true });
  }
});

test('/etc/mtab leads to /proc/mounts, as in Docker', async () => {
  const { stdout } = await run('/bin/busybox', ['readlink', '/etc/mtab'], { rootfs: layers[1]! });
  expect(stdout).toBe('/proc/mounts\n');
});

test('the upper and work directories of the caller belong to whom the container says', async () => {
  const [upper, work] = ['given/upper', 'given/work'].map((name) => join(dir, name)) as [string, string];
  for (const path of [upper, work]) mkdirSync(path, { recursive: true });
  const spec = { rootfs: { layers }, writable: { upper, work }, idMap: 'auto' } as const;
  const { stdout, stderr } = await run('/bin/busybox', ['sh', '-c', 'echo x > /mine; busybox chown 7:8 /mine'], spec);
  expect([stdout, stderr]).toEqual(['', '']);
  expect(statSync(join(upper, 'mine'))).toMatchObject({ uid: 7, gid: 8 });
  await using container = await Container.create({
    command: ['/bin/busybox', 'stat', '-c', '%u:%g', '/mine'],
    ...spec,
  });
  await container.start();
  expect((await container.wait()).stdout).toBe('7:8\n');
  expect(await container.diff()).toContainEqual(expect.objectContaining({ path: '/mine', uid: 7, gid: 8 }));
});

test('upper and work on two mounts are refused by name', async () => {
  const [upper, work] = ['two/upper', 'two/work'].map((name) => join(dir, name)) as [string, string];
  for (const path of [upper, work]) mkdirSync(path, { recursive: true });
  {
    using mount = createMount({ type: 'tmpfs' });
    attachMount(mount, work);
  }
  try {
    await expect(
      run('/bin/busybox', ['true'], { rootfs: { layers }, writable: { upper, work }, idMap: 'auto' }),
    ).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC', message: expect.stringContaining('on one mount') });
  } finally {
    unmount(work);
  }
});
