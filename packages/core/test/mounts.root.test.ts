import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Container, run } from '@ns/core';
import { needs, notRoot } from '@ns/testing';
import { kernelAtLeast, readHost } from '../src/host.ts';
import { NodeProgram } from './node-program.ts';
import { useOwnDirectory } from './own-directory.ts';

const test = needs(notRoot);
const dir = useOwnDirectory('mounts');

/** A directory with a file of 1000:1001. */
function projectOf1000(name: string): string {
  const path = join(dir, name);
  mkdirSync(path);
  writeFileSync(join(path, 'file'), 'text');
  for (const each of [path, join(path, 'file')]) chownSync(each, 1000, 1001);
  return path;
}

const owners = 'stat -c %u:%g /mnt/file && touch /mnt/new && stat -c %u:%g /mnt/new';
const ownerOnDisk = (path: string) => {
  const { uid, gid } = statSync(path);
  return `${uid}:${gid}`;
};

describe('owner', () => {
  test('keep: ids on disk are the ids inside, although the container has others', async () => {
    const source = projectOf1000('keep');
    const options = { idMap: 'auto', user: '1000:1001' } as const;
    const plain = await run('sh', ['-c', owners], { ...options, mounts: [{ source, target: '/mnt' }] });
    expect(plain).toMatchObject({ stdout: '65534:65534\n', exitCode: 1 });
    const kept = await run('sh', ['-c', owners], { ...options, mounts: [{ source, target: '/mnt', owner: 'keep' }] });
    expect(kept.stdout).toBe('1000:1001\n1000:1001\n');
    expect(ownerOnDisk(join(source, 'new'))).toBe('1000:1001');
  });

  test("container: the files are the container's user's, and on disk their owner's", async () => {
    const source = projectOf1000('container');
    const mounts = [{ source, target: '/mnt', owner: 'container' }] as const;
    for (const options of [{}, { idMap: 'auto' }, { user: '33:33' }, { idMap: 'auto', user: '7:8' }] as const) {
      rmSync(join(source, 'new'), { force: true });
      const { stdout, stderr } = await run('sh', ['-c', owners], { ...options, mounts });
      const user = 'user' in options ? options.user : '0:0';
      expect([stdout, stderr]).toEqual([`${user}\n${user}\n`, '']);
      expect(ownerOnDisk(join(source, 'new'))).toBe('1000:1001');
    }
  });

  test('the plan says which way is taken', () => {
    const source = projectOf1000('explained');
    const explain = (user: string) =>
      String(Container.explain({ command: ['true'], user, mounts: [{ source, target: '/mnt', owner: 'container' }] }));
    expect(explain('0')).toContain(`bind ${source} with mapped ids (mounts[0]) to /mnt`);
    expect(explain('1000:1001')).toContain(`bind ${source} to /mnt`);
  });

  test('a file system that cannot map ids is a typed answer', async () => {
    const mounts = [{ source: '/sys/kernel', target: '/mnt', owner: 'keep' }] as const;
    await expect(run('true', { idMap: 'auto', mounts })).rejects.toMatchObject({
      code: 'ERR_NS_UNAVAILABLE',
      hint: expect.stringContaining('leave owner out'),
    });
  });
});

describe('files', () => {
  test('binary content, mode and owner; on no disk and not in the stored state', async () => {
    const content = Buffer.from([0, 255, 1, 254, 0, 0, 10, 13]);
    const secret = { type: 'file', target: '/run/secrets/key', content, mode: 0o400, uid: 33, gid: 34 } as const;
    await using container = await Container.create({
      command: ['sleep', 'infinity'],
      mounts: [secret, { type: 'file', target: '/etc/app.conf', content: 'token=hunter2\n' }],
    });
    await container.start();
    const { stdout } = await container.exec('cat', ['/run/secrets/key'], { encoding: 'buffer' });
    expect(Buffer.compare(stdout as unknown as Buffer, content)).toBe(0);
    const stat = await container.exec('stat', ['-c', '%a %u:%g', '/run/secrets/key']);
    expect(stat.stdout).toBe('400 33:34\n');
    expect((await container.exec('cat', ['/etc/app.conf'])).stdout).toBe('token=hunter2\n');
    const state = join(dir, 'state/containers', container.id);
    for (const file of readdirSync(state)) expect(readFileSync(join(state, file), 'utf8')).not.toContain('hunter2');
    expect(String(container.explain())).not.toContain('hunter2');
  });

  for (const [whose, ids, expected] of [
    ['of the host', {}, kernelAtLeast(readHost(), 6, 4) ? /^ro\S* .*- tmpfs .*\bnoswap\b/ : /^ro\S* .*- ramfs /],
    ['of its own', { idMap: 'auto' }, /^ro\S* .*- ramfs /],
  ] as const)
    test(`with ids ${whose} no swap space has them either, and nobody changes them`, async () => {
      const key = { type: 'file', target: '/run/key', content: 'hunter2', mode: 0o666 } as const;
      await using container = await Container.create({ command: ['sleep', 'infinity'], mounts: [key], ...ids });
      await container.start();
      await container.mount({ ...key, target: '/run/later' });
      for (const target of ['/run/key', '/run/later']) {
        const line = new RegExp(`^.* ${target} (.*)$`, 'm').exec(
          readFileSync(`/proc/${container.pid}/mountinfo`, 'utf8'),
        );
        // What is mounted later is made by a process of the host.
        expect(line?.[1]).toMatch(target === '/run/key' ? expected : /^ro\S* .*- (tmpfs .*\bnoswap\b|ramfs )/);
        const { stderr } = await container.exec('sh', ['-c', `echo x > ${target}`]);
        expect(stderr).toMatch(/Read-only file system/);
      }
    });

  test('a megabyte, and nothing', async () => {
    const mounts = [
      { type: 'file', target: '/mnt/big', content: Buffer.alloc(2 ** 20, 'x') },
      { type: 'file', target: '/mnt/empty', content: '' },
    ] as const;
    expect((await run('stat', ['-c', '%s', '/mnt/big', '/mnt/empty'], { mounts })).stdout).toBe('1048576\n0\n');
  });
});

describe('tmpcopyup', () => {
  const imageOf = (name: string) => {
    const image = join(dir, name);
    for (const path of ['bin', 'data/sub', 'srv']) mkdirSync(join(image, path), { recursive: true });
    copyFileSync('/bin/busybox', join(image, 'bin/busybox'));
    writeFileSync(join(image, 'data/file'), 'of the image\n', { mode: 0o640 });
    chownSync(join(image, 'data/file'), 7, 8);
    chmodSync(join(image, 'data'), 0o750);
    const outside = join(dir, `${name}-outside`);
    mkdirSync(outside);
    writeFileSync(join(outside, 'secret'), 'of the host\n');
    symlinkSync(outside, join(image, 'escape'));
    symlinkSync('/data', join(image, 'alias'));
    return image;
  };
  const show = (target: string) =>
    [
      '/bin/busybox',
      'sh',
      '-c',
      `cd ${target}; busybox ls -lnR . 2>&1 | busybox awk 'NF > 8 {print $1, $3, $4, $9}'; busybox cat file; echo new > new && busybox stat -f -c %T .`,
    ] as const;

  for (const [whose, ids] of [
    ['of the host', {}],
    ['of its own', { idMap: 'auto' }],
  ] as const)
    test(`with ids ${whose}, a tmpfs begins with what the image has there, and the image stays as it is`, async () => {
      const image = imageOf(`copy-up-${Object.keys(ids).length}`);
      const above = join(dir, `above-${Object.keys(ids).length}`);
      mkdirSync(above);
      for (const rootfs of [image, { layers: [above, image] }])
        for (const target of ['/data', '/alias']) {
          const mounts = [{ type: 'tmpfs', target, size: '1m', options: ['tmpcopyup', 'nosuid'] }] as const;
          const { stdout, stderr } = await run(show(target), { rootfs, mounts, ...ids });
          expect(stderr).toBe('');
          expect(stdout).toBe('-rw-r----- 7 8 file\ndrwxr-xr-x 0 0 sub\nof the image\ntmpfs\n');
        }
      expect(readdirSync(join(image, 'data')).sort()).toEqual(['file', 'sub']);
      for (const target of ['/nowhere', '/escape', '/data/file/x']) {
        const { stdout } = await run(['/bin/busybox', 'ls', '-a', target], {
          rootfs: image,
          mounts: [{ type: 'tmpfs', target, options: ['tmpcopyup'] }],
          ...ids,
        }).catch((error: unknown) => ({ stdout: (error as { code: string }).code }));
        expect(stdout).toMatch(/^\.\n\.\.\n$|^ERR_NS_CONTAINER_START$/);
      }
    });

  test('of a running container, too', async () => {
    await using container = await Container.create({
      command: ['/bin/busybox', 'sleep', '60'],
      rootfs: imageOf('running'),
    });
    await container.start();
    await container.mount({ type: 'tmpfs', target: '/data', options: ['tmpcopyup'] });
    expect((await container.exec(show('/data'))).stdout).toContain('of the image\ntmpfs\n');
  });

  test('more than fits is an error, not a part', async () => {
    const image = imageOf('large');
    writeFileSync(join(image, 'data/large'), Buffer.alloc(2 ** 20));
    const mounts = [{ type: 'tmpfs', target: '/data', size: '64k', options: ['tmpcopyup'] }] as const;
    await expect(run(['/bin/busybox', 'true'], { rootfs: image, mounts })).rejects.toMatchObject({ code: 'ENOSPC' });
  });
});

describe('options', () => {
  const optionsOf = async (mount: object) => {
    const { stdout } = await run('sh', ['-c', "grep ' /mnt ' /proc/self/mountinfo"], { mounts: [mount as never] });
    return stdout;
  };

  test('as the OCI runtime specification spells them', async () => {
    const source = projectOf1000('options');
    const bind = await optionsOf({
      source,
      target: '/mnt',
      options: ['rbind', 'rro', 'noexec', 'nosuid', 'suid', 'noatime'],
    });
    expect(bind).toContain(' ro,nodev,noexec,noatime ');
    expect(await optionsOf({ source, target: '/mnt', options: ['ro', 'rw'] })).toContain(' rw,nosuid,nodev,relatime ');
    expect(await optionsOf({ source, target: '/mnt', options: ['suid', 'dev'] })).toContain(' rw,relatime ');
    expect(await optionsOf({ source, target: '/mnt', options: ['rsuid', 'rdev'] })).toContain(' rw,relatime ');
    expect(await optionsOf({ source, target: '/mnt', propagation: 'rslave' })).toContain(' - ');
    const tmpfs = { type: 'tmpfs', target: '/mnt', size: '1m', options: ['nr_inodes=7', 'uid=33', 'noexec'] };
    expect(await optionsOf(tmpfs)).toMatch(/ rw,nosuid,nodev,noexec,relatime .*size=1024k,nr_inodes=7,.*uid=33/);
  });

  for (const [mount, field] of [
    [{ source: '/usr', target: '/mnt', options: ['size=1m'] }, 'mounts[0].options'],
    [{ source: '/usr', target: '/mnt', options: ['remount'] }, 'mounts[0].options'],
    [{ type: 'tmpfs', target: '/mnt', options: ['tmpcopyup'] }, 'mounts[0].options'],
    [{ source: '/usr', target: '/mnt', options: ['tmpcopyup'] }, 'mounts[0].options'],
    [{ type: 'volume', source: '../up', target: '/mnt' }, 'mounts[0].source'],
    [{ source: '/usr', target: '/mnt', owner: 'me' }, 'mounts[0].owner'],
    [{ source: '/usr', target: '/proc/kcore' }, 'mounts[0].target'],
    [{ type: 'file', target: '/mnt/x', content: 7 }, 'mounts[0].content'],
  ] as const) {
    test(`${JSON.stringify(mount)} is refused`, async () => {
      await expect(run('true', { mounts: [mount as never] })).rejects.toMatchObject({
        code: 'ERR_NS_INVALID_SPEC',
        field,
      });
    });
  }
});

test('without a network /etc/resolv.conf is that of the host, but for resolvers on its loopback', async () => {
  const { stdout } = await run('cat', ['/etc/resolv.conf'], { network: 'none' });
  const lines = readFileSync('/etc/resolv.conf', 'utf8').split('\n');
  expect(stdout.split('\n')).toEqual(lines.filter((line) => !/^nameserver (127\.|::1$)/.test(line)));
});

test('mounts are made one below another in whatever order they are given, as Docker does', async () => {
  const source = projectOf1000('below');
  const { stdout } = await run('sh', ['-c', 'cat /srv/a/b/note; cat /srv/a/file; ls /srv/a'], {
    mounts: [
      { type: 'file', target: '/srv/a/b/note', content: 'deep\n' },
      { type: 'tmpfs', target: '/srv/a/b/' },
      { source, target: '/srv/a' },
    ],
  });
  expect(stdout).toBe('deep\ntextb\nfile\n');
});

test('a read-only root has places for what is mounted, and for the program', async () => {
  const image = join(dir, 'read-only');
  mkdirSync(image);
  for (const name of ['bin', 'lib', 'lib64', 'usr']) if (existsSync(`/${name}`)) mkdirSync(join(image, name));
  const system = ['bin', 'lib', 'lib64', 'usr'].filter((name) => existsSync(`/${name}`));
  const binds = system.map((name) => ({ source: `/${name}`, target: `/${name}`, readonly: true }));
  for (const rootfs of [{ host: true } as const, { layers: [image] }, { dir: image, readonly: true }]) {
    for (const idMap of [undefined, 'auto'] as const) {
      const { stdout, stderr } = await run(
        'sh',
        ['-c', 'pwd; echo kept > /scratch/deep/file; cat /scratch/deep/file /job/name; touch /job/x /made /here/x'],
        {
          rootfs,
          writable: 'none',
          cwd: '/here',
          ...(idMap && { idMap }),
          mounts: [
            ...(typeof rootfs === 'object' && 'host' in rootfs ? [] : binds),
            { type: 'tmpfs', target: '/scratch/deep' },
            { type: 'file', target: '/job/name', content: 'secret\n' },
          ],
        },
      );
      expect(stdout).toBe('/here\nkept\nsecret\n');
      expect(stderr.match(/Read-only file system/g)).toHaveLength(3);
    }
  }
  expect(readdirSync(image).sort()).toEqual(system.sort());
});

test('what is hidden is hidden in other file systems of this machine, too', async () => {
  const disk = join(dir, 'disk');
  mkdirSync(disk);
  execFileSync('mount', ['-t', 'tmpfs', 'disk', disk]);
  try {
    for (const name of ['private', 'public']) mkdirSync(join(disk, name));
    for (const name of ['private/key', 'public/key', 'key']) writeFileSync(join(disk, name), `${name}\n`);
    const rootfs = { host: true, hide: [join(disk, 'private'), join(disk, 'key')] } as const;
    const script = `cd ${disk} && cat */key key; rm -rf private key; mv public private; cat */key key`;
    for (const options of [{}, { writable: 'none' }] as const)
      expect((await run('sh', ['-c', script], { rootfs, ...options })).stdout).toBe('public/key\npublic/key\n');
  } finally {
    execFileSync('umount', [disk]);
  }
});

test('what is mounted in places of the machine is no obstacle to a view of it with ids of its own', async () => {
  using program = new NodeProgram('mounted-places');
  const { stdout, stderr } = await program.run([], { through: ['unshare', '--mount'] });
  expect(stderr).toBe('');
  expect(JSON.parse(stdout)).toEqual({
    // An empty /tmp; the others read-only, with what is mounted there.
    mounted: { sees: ['made', 'read-only', 'Linux', 'read-only', 'below'], changes: ['/tmp/made'] },
    gone: { sees: ['seen', 'made', 'made'], changes: ['/opt/made', '/tmp/made', '/var/made'] },
  });
});
