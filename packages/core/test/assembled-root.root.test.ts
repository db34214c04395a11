import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Container, type ContainerSpec, run } from '@ns/core';
import { SyscallError } from '@ns/libc';
import { needs, notRoot } from '@ns/testing';

/* A view of this machine in a user namespace of its own: an overlay for each directory of "/". */

const test = needs(notRoot);
let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'ns-assembled-'));
  chmodSync(dir, 0o755);
});
afterAll(() => {
  expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(dir);
  rmSync(dir, { recursive: true, force: true });
});

const everywhere =
  'echo 1 >> /top; mkdir -p /newtop; echo 1 >> /newtop/f; echo 1 >> /srv/s; echo 1 >> /root/r; echo 1 >> /tmp/t';
const written = ['/newtop', '/newtop/f', '/root/r', '/srv/s', '/tmp/t', '/top'];
const spec = { command: ['sh', '-c', everywhere], idMap: 'auto' } as const satisfies ContainerSpec;

const ended = async (container: Container) => {
  await container.start();
  expect(await container.wait()).toMatchObject({ exitCode: 0, stderr: '' });
};
const added = async (container: Container) =>
  (await container.diff()).filter(({ kind }) => kind === 'added').map(({ path }) => path);

test('all that is written is a change: beside the directories of this machine, in hidden ones, in new ones', async () => {
  await using container = await Container.create({ ...spec, rootfs: { host: true, hide: ['/srv'] } });
  await ended(container);
  expect(await added(container)).toEqual(written);
  const changes = await container.diff();
  // Of what is only on the way to it nothing has changed.
  expect(changes.filter(({ kind }) => kind !== 'added')).toEqual([]);
  expect(changes.find(({ path }) => path === '/top')).toMatchObject({ uid: 0, gid: 0 });
});

test('what was written is there at the next start, in forks, and where it is accepted, until it is discarded', async () => {
  await using container = await Container.create(spec);
  await ended(container);
  await ended(container);
  const [fork] = (await container.fork(1, { command: ['cat', ...written.slice(1)] })) as [Container];
  await fork.start();
  expect((await fork.wait()).stdout).toBe('1\n1\n'.repeat(5));
  await fork.remove();

  const target = join(dir, 'accepted');
  mkdirSync(target);
  await container.apply(target, { select: (path) => !path.startsWith('/tmp') });
  expect(readdirSync(target).sort()).toEqual(['newtop', 'root', 'srv', 'top']);
  expect(readFileSync(join(target, 'srv/s'), 'utf8')).toBe('1\n1\n');
  expect(statSync(join(target, 'root')).mode).toBe(statSync('/root').mode);
  expect(statSync(join(target, 'top'))).toMatchObject({ uid: 0, gid: 0 });

  await expect(container.apply(join(dir, 'not/there'))).rejects.toBeInstanceOf(SyscallError);
  await expect(container.commit(join(dir, 'store'))).rejects.toMatchObject({ code: 'ERR_NS_NO_LAYER' });
  await container.discard();
  expect(await container.diff()).toEqual([]);
});

for (const [title, size] of [
  ['', {}],
  [', also one with a size,', { size: '32m' }],
] as const)
  test(`a directory that keeps writes${title} keeps all of them`, async () => {
    const writable = { dir: mkdtempSync(join(dir, 'kept-')), ...size };
    await run('sh', ['-c', everywhere], { idMap: 'auto', writable, check: true });
    const again = await run('sh', ['-c', `${everywhere}; cat ${written.slice(1).join(' ')}`], {
      idMap: 'auto',
      writable,
    });
    expect(again).toMatchObject({ stdout: '1\n1\n'.repeat(5), stderr: '' });
    await using container = await Container.create({ ...spec, writable });
    expect(await added(container)).toEqual(written);
    const [fork] = (await container.fork(1, { command: ['cat', '/srv/s'] })) as [Container];
    await fork.start();
    expect((await fork.wait()).stdout).toBe('1\n1\n');
    await fork.remove();
    const target = mkdtempSync(join(dir, 'accepted-'));
    await container.apply(target);
    expect(readFileSync(join(target, 'srv/s'), 'utf8')).toBe('1\n1\n');
    await ended(container);
    await container.discard();
    await container.remove();
    expect((await run('ls', written, { idMap: 'auto', writable })).stdout).toBe('');
  });

test('what a root of one layer has kept is not passed over in silence by one of several, nor the other way round', async () => {
  for (const [first, second] of [
    [{}, { idMap: 'auto' }],
    [{ idMap: 'auto' }, {}],
  ] as const) {
    const writable = { dir: mkdtempSync(join(dir, 'other-')) };
    await run('sh', ['-c', everywhere], { ...first, writable, check: true });
    await expect(run('true', { ...second, writable })).rejects.toMatchObject({
      code: 'ERR_NS_INVALID_SPEC',
      field: 'writable.dir',
    });
  }
});

test('one upper directory for all of them is refused, with what keeps them', async () => {
  const [upper, work] = ['upper', 'work'].map((name) => join(dir, name)) as [string, string];
  for (const path of [upper, work]) mkdirSync(path);
  const refused = {
    code: 'ERR_NS_INVALID_SPEC',
    field: 'writable',
    hint: expect.stringContaining('writable: { dir }'),
  };
  await expect(run('true', { idMap: 'auto', writable: { upper, work } })).rejects.toMatchObject(refused);
  await expect(Container.create({ ...spec, writable: { upper, work } })).rejects.toMatchObject(refused);
  expect(() => Container.explain({ ...spec, idMap, writable: { upper, work } })).toThrow(
    expect.objectContaining(refused),
  );
});

const ids = [{ container: 0, host: 100_000, size: 65_536 }];
const idMap = { uids: ids, gids: ids };

test('an archive of it has the files of this machine and its own, without what is mounted in it', async () => {
  const shared = join(dir, 'shared');
  mkdirSync(shared);
  execFileSync('touch', [join(shared, 'not-its-own')]);
  const large = readdirSync('/')
    .map((name) => `/${name}`)
    .filter((path) => !['/etc', '/srv', '/bin'].includes(path));
  await using container = await Container.create({
    command: ['/bin/busybox', 'sleep', '60'],
    idMap: 'auto',
    // No shell has to be found in it.
    rootfs: { host: true, hide: large.filter((path) => !isNeeded(path)) },
    mounts: [{ source: shared, target: '/shared' }],
  });
  await container.start();
  await container.exec('sh', ['-c', 'echo x > /srv/new; echo x > /etc/new; echo x > /top; rm /etc/passwd'], {
    check: true,
  });
  const archive = join(dir, 'archive.tar');
  const exclude = (path: string) => isNeeded(`/${path}`);
  await pipeline(container.export({ exclude }), createWriteStream(archive));
  const paths = execFileSync('tar', ['tf', archive], { encoding: 'utf8', maxBuffer: 1e8 }).split('\n');
  expect(paths).toEqual(expect.arrayContaining(['etc/group', 'etc/new', 'srv/new', 'top', 'shared/', 'proc/']));
  for (const absent of ['etc/passwd', 'shared/not-its-own', 'proc/self']) expect(paths.includes(absent)).toBe(false);
  // What is hidden, and what its root may not read, is not in it either.
  if (existsSync('/etc/shadow'))
    expect(execFileSync('tar', ['xOf', archive, 'etc/shadow'], { encoding: 'utf8' })).toBe('');
  if (existsSync('/etc/.pwd.lock')) expect(paths.includes('etc/.pwd.lock')).toBe(false);
});

/** Directories that programs are in. */
function isNeeded(path: string): boolean {
  return /^\/(usr|lib\w*|s?bin)$/.test(path);
}
