import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
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
