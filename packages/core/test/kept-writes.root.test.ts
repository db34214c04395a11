import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { Container, run } from '@ns/core';
import { attachMount, createMount, unmountAll } from '@ns/mounts';
import { createSizedDirectory } from '@ns/overlayfs';
import { needs, notRoot } from '@ns/testing';
import { NodeProgram } from './node-program.ts';

const test = needs(notRoot);
let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'ns-kept-'));
  chmodSync(dir, 0o755);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('what is written is there for the next container', async () => {
  const writable = { dir: join(dir, 'plain') };
  await run('sh', ['-c', 'echo kept > /srv/kept; rm /etc/hostname'], { writable, check: true });
  const next = await run('sh', ['-c', 'cat /srv/kept'], { writable });
  expect(next.stdout).toBe('kept\n');
  await using container = await Container.create({ command: ['true'], writable });
  expect((await container.diff()).map(({ kind, path }) => `${kind} ${path}`)).toContain('added /srv/kept');
});

test('set-user-ID programs that were written are for nobody on the host', async () => {
  const writable = { dir: join(dir, 'programs') };
  await run('sh', ['-c', 'cp /bin/id /srv/id; chmod 4755 /srv/id'], { writable, check: true });
  const program = join(writable.dir, 'data/upper/srv/id');
  expect(statSync(program)).toMatchObject({ uid: 0, mode: 0o104755 });
  expect(() => execFileSync(program, { uid: 65_534, gid: 65_534, stdio: 'ignore' })).toThrow('EACCES');
  // One that was made with less care, too.
  chmodSync(join(writable.dir, 'data'), 0o755);
  await run('true', [], { writable, check: true });
  expect(() => execFileSync(program, { uid: 65_534, gid: 65_534, stdio: 'ignore' })).toThrow('EACCES');
});

test('the plan of a directory that is not there makes nothing', () => {
  const text = String(Container.explain({ command: ['true'], writable: { dir: join(dir, 'planned'), size: '1m' } }));
  expect(text).toContain(join(dir, 'planned/data/upper'));
  // For what is written in other file systems of the host.
  expect(text).toContain('make a scratch file system with mode=0755,size=1048576');
  expect(() => readFileSync(join(dir, 'planned'))).toThrow('ENOENT');
});

/** Loop devices whose file is below a directory. */
const loopsBelow = (directory: string) =>
  readdirSync('/sys/block')
    .filter((name) => name.startsWith('loop'))
    .filter((name) => {
      try {
        return readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').startsWith(directory);
      } catch {
        return false;
      }
    });

/** Freed by the kernel a moment after the last process of a container is gone. */
async function noLoopsBelow(directory: string): Promise<void> {
  for (let waited = 0; loopsBelow(directory).length > 0 && waited < 10_000; waited += 20) await setTimeout(20);
  expect(loopsBelow(directory)).toEqual([]);
}

const loopMissing = existsSync('/dev/loop-control') ? undefined : 'no loop devices';
const loopTest = needs(notRoot ?? loopMissing);

describe('where no quota is to be had, an image on a loop device', () => {
  let home: string;
  beforeEach(() => {
    // A file system without project quota for directories of a tmpfs.
    home = mkdtempSync('/dev/shm/ns-kept-');
    chmodSync(home, 0o755);
  });
  afterEach(async () => {
    await noLoopsBelow(home);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(home);
    rmSync(home, { recursive: true, force: true });
  });

  for (const [title, ids] of [
    ['ids of the host', {}],
    ['ids of its own', { idMap: 'auto' }],
  ] as const)
    loopTest(`bounds what is written, with ${title}`, async () => {
      const layer = join(home, 'layer');
      mkdirSync(join(layer, 'bin'), { recursive: true });
      copyFileSync('/bin/busybox', join(layer, 'bin/busybox'));
      const spec = { rootfs: layer, writable: { dir: join(home, 'sized'), size: '16m' }, ...ids };
      const sh = (script: string) => run('/bin/busybox', ['sh', '-c', script], spec);
      expect(
        await sh('busybox head -c 12m /dev/zero > /first; echo kept > /kept; busybox chown 7:8 /kept'),
      ).toMatchObject({
        exitCode: 0,
        stderr: '',
      });
      const second = await sh('busybox dd if=/dev/zero of=/second bs=64k count=192');
      expect(second).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/No space left/i) });
      await expect(
        run('/bin/busybox', ['true'], { ...spec, writable: { ...spec.writable, size: '32m' } }),
      ).rejects.toMatchObject({
        code: 'ERR_NS_INVALID_SPEC',
        field: 'writable.size',
      });

      await using container = await Container.create({ command: ['/bin/busybox', 'sleep', '600'], ...spec });
      expect(container.writeLimit).toEqual({ method: 'loop-image', sizeBytes: 16 * 2 ** 20 });
      await container.start();
      // Two mounts of one image would destroy it.
      await expect(sh('true')).rejects.toMatchObject({ code: 'ERR_NS_IN_USE' });
      await container.exec('/bin/busybox', ['sh', '-c', 'busybox rm /first /second'], { check: true });
      await container.restart({ timeout: 10 });
      await container.stop({ timeout: 10 });
      const changes = await container.diff();
      expect(changes.find(({ path }) => path === '/kept')).toMatchObject({ kind: 'added', uid: 7, gid: 8 });
      expect(changes.map(({ path }) => path)).not.toContain('/first');
      const committed = await container.commit(join(home, 'store'));
      expect(statSync(join(committed.path, 'kept'))).toMatchObject({ uid: 7, gid: 8 });
      await container.discard();
      await container.remove();
      expect((await sh('busybox ls /kept')).exitCode).toBe(1);
    });

  loopTest('bounds how many files there are', async () => {
    const writable = { dir: join(home, 'few'), size: '16m', inodes: 100 };
    const script = 'i=0; while [ $i -lt 200 ]; do i=$((i+1)); : > /srv/$i || exit 1; done';
    expect(await run('sh', ['-c', script], { writable })).toMatchObject({
      stderr: expect.stringMatching(/No space left/i),
    });
  });

  loopTest('is freed when the process that has it is killed', async () => {
    using program = new NodeProgram('kept-owner');
    const child = program.start([join(home, 'owned')]);
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    expect(String(said)).toBe('running\n');
    expect(loopsBelow(home)).toHaveLength(1);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await noLoopsBelow(home);
    // And can be used again.
    const { stdout } = await run('cat', ['/srv/before'], { writable: { dir: join(home, 'owned'), size: '16m' } });
    expect(stdout).toBe('before\n');
  });

  loopTest('is had all the same when whoever made it was killed, and what else is in the directory stays', async () => {
    using program = new NodeProgram('killed-sizer');
    let step = 1;
    for (let survived = false; !survived; step++) {
      const shared = join(home, `shared-${step}`);
      mkdirSync(shared);
      writeFileSync(join(shared, 'mine'), 'mine');
      survived = (await program.run([shared, String(2 ** 20), String(step)])).signal === null;
      using sized = await createSizedDirectory(shared, 2 ** 20);
      expect(statfsSync(sized.path).blocks).toBeGreaterThan(0);
      expect({ step, files: readdirSync(shared).sort() }).toEqual({ step, files: ['image', 'mine', 'size.json'] });
    }
    expect(step).toBe(4);
  });

  loopTest('is not made where there is none, or where writes were kept without', async () => {
    const writable = { dir: join(home, 'unbounded') };
    await run('sh', ['-c', 'echo kept > /srv/kept'], { writable });
    await expect(run('true', { writable: { ...writable, size: '16m' } })).rejects.toMatchObject({
      code: 'ERR_NS_INVALID_SPEC',
      field: 'writable.size',
    });
    expect((await run('cat', ['/srv/kept'], { writable })).stdout).toBe('kept\n');
    const shared = join(home, 'mine/too');
    mkdirSync(shared, { recursive: true });
    const none = { methods: ['btrfs-qgroup'] } as const;
    await expect(createSizedDirectory(join(home, 'mine'), 2 ** 20, none)).rejects.toMatchObject({
      code: 'ERR_NS_UNAVAILABLE',
    });
    expect(existsSync(shared)).toBe(true);
    await expect(createSizedDirectory(join(home, 'new'), 2 ** 20, none)).rejects.toMatchObject({
      code: 'ERR_NS_UNAVAILABLE',
    });
    expect(existsSync(join(home, 'new'))).toBe(false);
  });

  loopTest('is freed when the start fails', async () => {
    const writable = { dir: join(home, 'failing'), size: '16m' };
    await expect(run('no-such-program', { writable, cwd: '/etc/passwd' })).rejects.toMatchObject({
      code: 'ERR_NS_CONTAINER_START',
    });
    await noLoopsBelow(home);
  });
});

test('memory of a size, and of so many files', async () => {
  const full = await run('sh', ['-c', 'head -c 4M /dev/zero > /srv/x'], { writable: { size: '1m' } });
  expect(full.stderr).toMatch(/No space left/);
  const script = 'i=0; while [ $i -lt 200 ]; do i=$((i+1)); : > /srv/$i || exit 9; done';
  expect((await run('sh', ['-c', script], { writable: { size: '16m', inodes: 100 } })).exitCode).not.toBe(0);
  await using container = await Container.create({ command: ['true'], writable: { size: '1m', inodes: 9000 } });
  expect(container.writeLimit).toEqual({ method: 'tmpfs', sizeBytes: 2 ** 20, inodes: 9000 });
});

test('a directory that keeps writes has the ids that are inside, whoever comes next', async () => {
  const layer = join(dir, 'own-ids');
  mkdirSync(join(layer, 'bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(layer, 'bin/busybox'));
  const spec = { rootfs: layer, writable: { dir: join(dir, 'ids') } };
  const sh = (script: string, more: object) => run('/bin/busybox', ['sh', '-c', script], { ...spec, ...more });
  // Another container has the first ids meanwhile.
  await sh('echo x > /a; busybox chown 7:8 /a', { idMap: 'auto', check: true });
  await using other = await Container.create({ command: ['/bin/busybox', 'true'], rootfs: layer, idMap: 'auto' });
  expect(other.status).toBe('created');
  expect((await sh('busybox stat -c %u:%g /a; echo y >> /a', { idMap: 'auto' })).stdout).toBe('7:8\n');
  expect((await sh('busybox stat -c %u:%g /a', {})).stdout).toBe('7:8\n');
  expect(statSync(join(dir, 'ids/data/upper/a'))).toMatchObject({ uid: 7, gid: 8, size: 4 });
});

/** A btrfs with quota in an image file, mounted while `body` runs. */
async function withQuota(body: (mountPoint: string) => Promise<void> | void): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'ns-quota-'));
  const [image, mountPoint] = [join(home, 'image'), join(home, 'mounted')];
  const command = (name: string, ...args: string[]) => execFileSync(name, args, { stdio: 'pipe' });
  try {
    command('truncate', '-s', '200M', image);
    command('mkfs.btrfs', '-q', image);
    mkdirSync(mountPoint);
    command('mount', '-o', 'loop', image, mountPoint);
    try {
      command('btrfs', 'quota', 'enable', mountPoint);
      await body(mountPoint);
    } finally {
      command('umount', mountPoint);
    }
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

const quotaMissing = await withQuota(() => {}).then(
  () => undefined,
  () => 'no btrfs with quota on a loop device',
);

needs(notRoot ?? quotaMissing)('a size bounds what is written, over several runs, and is remembered', () =>
  withQuota(async (mountPoint) => {
    const writable = { dir: join(mountPoint, 'sized'), size: '24m' };
    const fill = (name: string, options: object = {}) =>
      run('sh', ['-c', `head -c 16M /dev/urandom > /srv/${name} && sync -f /srv`], { writable, ...options });
    expect(await fill('first')).toMatchObject({ exitCode: 0, stderr: '' });
    const second = await fill('second');
    expect(second.exitCode).not.toBe(0);
    expect(second.stderr).toMatch(/No space left|quota exceeded/i);
    await expect(fill('third', { writable: { ...writable, size: '48m' } })).rejects.toMatchObject({
      code: 'ERR_NS_INVALID_SPEC',
      field: 'writable.size',
    });
  }),
);

test('no room for anything is an error that says so, not a root that cannot be written to', async () => {
  const place = join(dir, 'no-room');
  mkdirSync(place);
  // Its root, upper, work, and one more.
  using memory = createMount({ type: 'tmpfs', options: ['nr_inodes=4', 'mode=755'] });
  attachMount(memory, place);
  try {
    const writable = { upper: join(place, 'upper'), work: join(place, 'work') };
    for (const path of Object.values(writable)) mkdirSync(path);
    writeFileSync(join(place, 'upper/last'), '');
    await expect(run('true', [], { rootfs: { layers: ['/usr'] }, writable })).rejects.toMatchObject({
      code: 'ERR_NS_CONTAINER_START',
      errnoCode: 'EROFS',
      hint: expect.stringContaining('no room'),
    });
  } finally {
    unmountAll(place);
  }
});
