import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Container, run } from '@ns/core';
import { needs, notRoot } from '@ns/testing';

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

test('the plan of a directory that is not there makes nothing', () => {
  const text = String(Container.explain({ command: ['true'], writable: { dir: join(dir, 'planned'), size: '1m' } }));
  expect(text).toContain(join(dir, 'planned/data/upper'));
  expect(() => readFileSync(join(dir, 'planned'))).toThrow('ENOENT');
});

test('a size that no file system here can keep is a typed answer', async () => {
  // A tmpfs has no project ids before Linux 6.6 and no quota for them later.
  const writable = { dir: '/dev/shm/ns-kept-test', size: '1m' };
  try {
    await expect(run('true', { writable })).rejects.toMatchObject({
      code: 'ERR_NS_UNAVAILABLE',
      hint: expect.stringContaining('project quota'),
    });
  } finally {
    rmSync('/dev/shm/ns-kept-test', { recursive: true, force: true });
  }
});

/** An ext4 with project quota, as an image file that is mounted while the test runs. */
function withQuotaFileSystem(body: (mountPoint: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const [image, mountPoint] = [join(dir, 'image'), join(dir, 'mounted')];
    writeFileSync(image, '');
    execFileSync('truncate', ['-s', '64M', image]);
    execFileSync('mkfs.ext4', ['-q', '-O', 'quota,project', image]);
    mkdirSync(mountPoint);
    execFileSync('mount', ['-o', 'loop,prjquota', image, mountPoint]);
    try {
      await body(mountPoint);
    } finally {
      execFileSync('umount', [mountPoint]);
    }
  };
}

const quotaMissing = (() => {
  const probe = mkdtempSync(join(tmpdir(), 'ns-quota-'));
  try {
    execFileSync('truncate', ['-s', '16M', `${probe}/image`]);
    execFileSync('mkfs.ext4', ['-q', '-O', 'quota,project', `${probe}/image`], { stdio: 'ignore' });
    mkdirSync(`${probe}/mounted`);
    execFileSync('mount', ['-o', 'loop,prjquota', `${probe}/image`, `${probe}/mounted`], { stdio: 'ignore' });
    execFileSync('umount', [`${probe}/mounted`]);
    return undefined;
  } catch {
    return 'no ext4 with project quota on a loop device';
  } finally {
    rmSync(probe, { recursive: true, force: true });
  }
})();

needs(notRoot ?? quotaMissing)(
  'a size bounds what is written, over several runs, and is remembered',
  withQuotaFileSystem(async (mountPoint) => {
    const writable = { dir: join(mountPoint, 'sized'), size: '4m' };
    const fill = (name: string, options: object = {}) =>
      run('sh', ['-c', `head -c 3M /dev/zero > /srv/${name}`], { writable, ...options });
    expect(await fill('first')).toMatchObject({ exitCode: 0 });
    const second = await fill('second');
    expect(second.exitCode).toBe(1);
    expect(second.stderr).toMatch(/No space left|quota exceeded/i);
    await expect(fill('third', { writable: { ...writable, size: '8m' } })).rejects.toMatchObject({
      code: 'ERR_NS_INVALID_SPEC',
      field: 'writable.size',
    });
  }),
);
