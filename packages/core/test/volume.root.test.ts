import { spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Container, run, Volume } from '@ns/core';
import { needs, notRoot } from '@ns/testing';
import { NodeProgram } from './node-program.ts';
import { useOwnDirectory } from './own-directory.ts';

const test = needs(notRoot);
const dir = useOwnDirectory('volume');

/** An image of busybox, with files of its own at /srv/data. */
function image(name: string): string {
  const root = join(dir, name);
  mkdirSync(join(root, 'bin'), { recursive: true });
  mkdirSync(join(root, 'srv/data/sub'), { recursive: true });
  spawnSync('cp', ['/bin/busybox', join(root, 'bin/busybox')]);
  spawnSync('ln', [join(root, 'bin/busybox'), join(root, 'bin/sh')]);
  writeFileSync(join(root, 'srv/data/seed'), 'from the image');
  chownSync(join(root, 'srv/data/seed'), 33, 34);
  return root;
}

const volume = (source: string, target = '/srv/data') => ({ type: 'volume', source, target }) as const;

test('create, get, list, inspect, remove', async () => {
  const made = await Volume.create({ name: 'one', labels: { for: 'test' } });
  expect((await Volume.get('one')).path).toBe(made.path);
  await expect(Volume.create({ name: 'one' })).rejects.toMatchObject({ code: 'ERR_NS_VOLUME_EXISTS' });
  const random = await Volume.create();
  expect(random.name).toMatch(/^[0-9a-f]{64}$/);
  expect((await Volume.list()).map(({ name }) => name).sort()).toEqual([random.name, 'one'].sort());
  expect(await Volume.list({ labels: { for: 'test' } })).toMatchObject([{ name: 'one', usedBy: [] }]);
  await made.remove();
  await made.remove();
  await random.remove();
  await expect(made.inspect()).rejects.toMatchObject({ code: 'ERR_NS_NO_SUCH_VOLUME' });
  for (const name of ['../x', '', 'a/b'])
    await expect(Volume.create({ name })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC', field: 'name' });
});

test('made at first use with what the image has there, and kept', async () => {
  const rootfs = image('seeded');
  const options = { rootfs, mounts: [volume('seeded')] };
  const script = 'busybox cat /srv/data/seed; busybox stat -c " %u:%g" /srv/data/seed; echo more > /srv/data/more';
  expect((await run('/bin/sh', ['-c', script], options)).stdout).toBe('from the image 33:34\n');
  const again = await run('/bin/busybox', ['ls', '/srv/data'], options);
  expect(again.stdout.split('\n')).toEqual(['more', 'seed', 'sub', '']);
  const kept = await Volume.get('seeded');
  expect(statSync(join(kept.path, 'seed'))).toMatchObject({ uid: 33, gid: 34 });
  expect(await kept.inspect()).toMatchObject({ usedBy: [] });
  const readonly = await run('/bin/sh', ['-c', 'echo x > /srv/data/y'], {
    rootfs,
    mounts: [{ ...volume('seeded'), readonly: true }],
  });
  expect(readonly).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('Read-only') });
  await kept.remove();
});

test('two at once fill a new volume once, and share it whatever their ids', async () => {
  const options = { rootfs: image('shared'), mounts: [volume('shared')], idMap: 'auto' } as const;
  const results = await Promise.all(
    ['a', 'b'].map((name) =>
      run('/bin/sh', ['-c', `echo ${name} > /srv/data/${name}; busybox stat -c %u:%g /srv/data/seed`], options),
    ),
  );
  expect(results.map(({ stdout, stderr }) => [stdout, stderr])).toEqual([
    ['33:34\n', ''],
    ['33:34\n', ''],
  ]);
  const { path } = await Volume.get('shared');
  expect(['a', 'b'].map((name) => statSync(join(path, name)).uid)).toEqual([0, 0]);
  await (await Volume.get('shared')).remove();
});

test('in use as long as there is a container that runs with it, or may again', async () => {
  const used = await Volume.create({ name: 'used' });
  await using container = await Container.create({ command: ['sleep', 'infinity'], mounts: [volume('used', '/mnt')] });
  await container.start();
  expect(await used.inspect()).toMatchObject({ usedBy: [container.id] });
  await expect(used.remove()).rejects.toMatchObject({
    code: 'ERR_NS_VOLUME_IN_USE',
    message: expect.stringContaining(container.id.slice(0, 12)),
  });
  await container.exec('touch', ['/mnt/kept'], { check: true });
  await container.stop({ timeout: 100 });
  expect(await used.inspect()).toMatchObject({ usedBy: [container.id] });
  await expect(used.remove()).rejects.toMatchObject({ code: 'ERR_NS_VOLUME_IN_USE' });
  await container.start();
  expect((await container.exec('ls', ['/mnt'])).stdout).toBe('kept\n');
  expect((await Volume.list()).find(({ name }) => name === 'used')).toMatchObject({ usedBy: [container.id] });
  await container.remove({ force: true });
  expect(await used.inspect()).toMatchObject({ usedBy: [] });
  await used.remove();
  expect(existsSync(used.path)).toBe(false);
});

test('one whose maker is gone holds a volume while it runs, and nobody starts it again after that', async () => {
  const outliving = await Volume.create({ name: 'outliving' });
  using program = new NodeProgram(
    'volume-user',
    `import { Container } from '@ns/core';
    const command = ['sh', '-c', 'until [ -e /go ]; do sleep 0.02; done'];
    const mounts = [{ type: 'volume', source: 'outliving', target: '/mnt' }];
    const c = await Container.create({ command, mounts, lifetime: { dieWithParent: false } });
    await c.start();
    c.detach();
    process.stdout.write(c.id);`,
  );
  const { stdout: id } = await program.run();
  await using found = await Container.get(id);
  expect(await outliving.inspect()).toMatchObject({ usedBy: [id] });
  await expect(outliving.remove()).rejects.toMatchObject({ code: 'ERR_NS_VOLUME_IN_USE' });
  await found.exec('touch', ['/go'], { check: true });
  await found.wait();
  expect(await outliving.inspect()).toMatchObject({ usedBy: [] });
  await outliving.remove();
  await found.remove();
});

test('one volume that cannot be let go of holds no other', async () => {
  const container = await Container.create({
    command: ['true'],
    mounts: [volume('before'), volume('stuck', '/srv/stuck'), volume('after', '/srv/after')],
  });
  const users = join((await Volume.get('stuck')).path, '../users');
  const [use] = readdirSync(users);
  rmSync(join(users, use!));
  mkdirSync(join(users, use!)); // EISDIR
  await container.remove({ force: true });
  expect(existsSync(join(users, use!))).toBe(true);
  for (const name of ['before', 'after'])
    expect(await (await Volume.get(name)).inspect()).toMatchObject({ usedBy: [] });
  rmSync(join(users, use!), { recursive: true });
  for (const name of ['before', 'stuck', 'after']) await (await Volume.get(name)).remove();
});

test('a use whose maker died without a word is none', async () => {
  const orphan = await Volume.create({ name: 'orphan' });
  const users = join(orphan.path, '../users');
  writeFileSync(join(users, `${'a'.repeat(64)}.${process.pid}.1`), '');
  expect(await orphan.inspect()).toMatchObject({ usedBy: [] });
  writeFileSync(join(users, `${'b'.repeat(64)}.${process.pid}.1`), '');
  await orphan.remove();
});

test('a view of the host fills no volume with what the host has there', async () => {
  await run('true', { mounts: [volume('empty', '/etc')] }).catch(() => {});
  const empty = await Volume.get('empty');
  expect(existsSync(join(empty.path, 'passwd'))).toBe(false);
  await empty.remove();
});

test('the plan shows it without anything being made', () => {
  const text = String(Container.explain({ command: ['true'], mounts: [volume('none-such', '/mnt')] }));
  expect(text).toContain('bind volume none-such (mounts[0]) to /mnt');
  expect(existsSync(join(dir, 'state/volumes/none-such'))).toBe(false);
});
