import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Container, type ContainerSpec, Volume } from '@ns/core';
import { Launched } from '@ns/launch';
import { needs, notRoot } from '@ns/testing';
import { useOwnDirectory } from './own-directory.ts';

const test = needs(notRoot);
const dir = useOwnDirectory('running-mounts');

async function running(spec: Partial<ContainerSpec> = {}): Promise<Container> {
  const container = await Container.create({ command: ['sleep', 'infinity'], ...spec });
  await container.start();
  return container;
}

const output = async (container: Container, script: string) => {
  const { stdout, stderr } = await container.exec('sh', ['-c', script]);
  return stdout + stderr;
};

const mountsOf = (container: Container) => readFileSync(`/proc/${container.pid}/mountinfo`, 'utf8');

describe.each([
  ['ids of the host', {}],
  ['ids of its own', { idMap: 'auto' }],
] as const)('with %s', (_, spec) => {
  test('a directory, a file of the host, memory, a secret and a volume come and go', async () => {
    const source = join(dir, `source-${Object.keys(spec).length}`);
    mkdirSync(source, { mode: 0o755 });
    writeFileSync(join(source, 'file'), 'of the host\n', { mode: 0o644 });
    await using container = await running(spec);
    const before = mountsOf(container);

    await container.mount({ source, target: '/srv/new/place', readonly: true });
    expect(await output(container, 'cat /srv/new/place/file; touch /srv/new/place/x')).toMatch(
      /of the host\n.*Read-only/,
    );
    await container.mount({ source: join(source, 'file'), target: '/srv/one' });
    expect(await output(container, 'cat /srv/one')).toBe('of the host\n');
    await container.mount({ type: 'tmpfs', target: '/srv/memory', size: '1m', mode: 0o755 });
    expect(await output(container, 'echo x > /srv/memory/x && stat -c %u:%g:%a /srv/memory /srv/memory/x')).toBe(
      '0:0:755\n0:0:644\n',
    );
    const content = Buffer.from('hunter2');
    await container.mount({ type: 'file', target: '/run/key', content, mode: 0o400, uid: 7, gid: 8 });
    expect(await output(container, 'cat /run/key; stat -c " %u:%g:%a" /run/key')).toBe('hunter2 7:8:400\n');
    await container.mount({ type: 'volume', source: 'later', target: '/srv/volume' });
    expect(await output(container, 'echo kept > /srv/volume/kept; stat -c %u /srv/volume/kept')).toBe('0\n');
    const volume = await Volume.get('later');
    expect(await volume.inspect()).toMatchObject({ usedBy: [container.id] });
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(source);

    for (const target of ['/srv/volume/', '/run/key', '/srv/memory', '/srv/one', '/srv/new/place'])
      await container.unmount(target);
    expect(mountsOf(container)).toBe(before);
    expect(await volume.inspect()).toMatchObject({ usedBy: [] });
    expect(readFileSync(join(volume.path, 'kept'), 'utf8')).toBe('kept\n');
    expect(statSync(join(volume.path, 'kept')).uid).toBe(0);
    await volume.remove();
  });
});

test('a volume is free when the container has ended while that was being mounted', async () => {
  const volume = await Volume.create({ name: 'late' });
  await using container = await running();
  const exited = Object.getOwnPropertyDescriptor(Launched.prototype, 'exited')!;
  // The process that mounts it is heard of when all else is over.
  const late = async (exit: unknown) => {
    await container.kill();
    await container.wait();
    return exit;
  };
  Object.defineProperty(Launched.prototype, 'exited', {
    ...exited,
    get(this: Launched) {
      return exited.get!.call(this).then(late);
    },
  });
  try {
    await container.mount({ type: 'volume', source: 'late', target: '/mnt' });
  } finally {
    Object.defineProperty(Launched.prototype, 'exited', exited);
  }
  expect(container.status).toBe('stopped');
  expect(await volume.inspect()).toMatchObject({ usedBy: [] });
  await volume.remove();
});

test('it ends with the container, and a volume is free when that has ended', async () => {
  const volume = await Volume.create({ name: 'ends' });
  await using container = await running();
  await container.mount({ type: 'volume', source: 'ends', target: '/mnt' });
  await expect(volume.remove()).rejects.toMatchObject({ code: 'ERR_NS_VOLUME_IN_USE' });
  await container.restart({ timeout: 100 });
  expect(mountsOf(container)).not.toContain(' /mnt ');
  await expect(container.unmount('/mnt')).rejects.toMatchObject({ code: 'ERR_NS_NOT_MOUNTED' });
  await volume.remove();
});

test('links that the container plants lead nowhere outside', async () => {
  const source = join(dir, 'planted');
  mkdirSync(source);
  const outside = join(dir, 'outside');
  mkdirSync(outside);
  symlinkSync(outside, join(source, 'out'));
  await using container = await running({ mounts: [{ source, target: '/mnt' }] });
  await container.mount({ type: 'file', target: '/mnt/out/made', content: 'x' });
  // The link's path means one inside the container.
  expect(await output(container, `cat ${outside}/made`)).toBe('x');
  expect(() => statSync(join(outside, 'made'))).toThrow('ENOENT');
});

test('a container that swaps the target for a link all the time gets nothing of the host', async () => {
  const outside = join(dir, 'swapped');
  mkdirSync(outside);
  await using container = await running();
  const script = `mkdir -p /srv/real; while :; do rm -rf /srv/t; ln -s ${outside} /srv/t; rm /srv/t; mkdir /srv/t; done`;
  const swapping = container.exec('sh', ['-c', script]);
  for (let i = 0; i < 30; i++)
    await container.mount({ type: 'tmpfs', target: '/srv/t' }).catch(({ code }) => expect(typeof code).toBe('string'));
  swapping.kill('SIGKILL');
  await swapping;
  expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(outside);
});

test('a path that was made to lead elsewhere unmounts nothing', async () => {
  await using container = await running();
  await container.mount({ type: 'tmpfs', target: '/srv/a/keys' });
  await container.exec('sh', ['-c', 'mv /srv/a /srv/b; ln -s /proc /srv/a'], { check: true });
  await expect(container.unmount('/srv/a/keys')).rejects.toMatchObject({ code: 'ERR_NS_NOT_MOUNTED' });
  expect(mountsOf(container)).toContain(' /proc/keys ');
  await expect(container.unmount('/proc/keys')).rejects.toMatchObject({ code: 'ERR_NS_NOT_MOUNTED' });
});

test('what cannot be', async () => {
  await using container = await running();
  const wrong = { code: 'ERR_NS_INVALID_SPEC' };
  await expect(container.mount({ source: '/usr', target: '/proc/kcore' })).rejects.toMatchObject(wrong);
  await expect(container.mount({ source: '/usr', target: '/' })).rejects.toMatchObject(wrong);
  await expect(container.mount({ source: '/no such', target: '/mnt' })).rejects.toMatchObject({
    code: 'ERR_NS_MOUNT_SOURCE',
  });
  await expect(container.mount({ source: '/usr', target: '/etc/passwd' })).rejects.toMatchObject({ code: 'ENOTDIR' });
  await container.stop({ timeout: 100 });
  await expect(container.mount({ source: '/usr', target: '/mnt' })).rejects.toMatchObject({
    code: 'ERR_NS_CONTAINER_NOT_RUNNING',
  });
});

test('what an update says is undefined stays, also after a restart', async () => {
  await using container = await running({ limits: { memory: '64MiB', pids: 20 } });
  const unnamed = { memory: undefined, missing: undefined, pids: 30 } as object;
  expect(await container.update({ limits: unnamed, bandwidth: undefined, egress: undefined } as object)).toEqual([
    { field: 'limits.pids', from: 20, to: 30 },
  ]);
  await container.restart({ timeout: 10 });
  const { memory, pids } = await container.stats();
  expect([memory?.maxBytes, pids?.max]).toEqual([64 * 2 ** 20, 30]);
});

test('an update that is refused changes nothing', async () => {
  await using container = await running({ limits: { memory: '64MiB' } });
  const memory = async () => (await container.stats()).memory?.maxBytes;
  await container.mount({ source: '/usr', target: '/srv/usr' });
  const places = () => mountsOf(container).match(/ \/srv\S*/g);
  const before = places();
  const changes = { limits: { memory: '128MiB' }, mounts: { add: [{ type: 'tmpfs', target: '/srv/x' }] } } as const;
  await expect(container.update({ ...changes, egress: { default: 'deny' } })).rejects.toMatchObject({
    code: 'ERR_NS_NO_NETWORK',
  });
  // Refused by the kernel alone, when the mounts are made.
  const mounts = { remove: ['/srv/usr'], ...changes.mounts };
  await expect(container.update({ limits: { cpusetCpus: '4000' }, mounts })).rejects.toThrow();
  expect([places(), await memory()]).toEqual([before, 64 * 2 ** 20]);
});

describe.each([
  ['ids of the host', {}],
  ['ids of its own', { idMap: 'auto' }],
] as const)('with %s, a refused update', (_, spec) => {
  test('puts back what it took away, with what is in it', async () => {
    await using container = await running(spec);
    await container.mount({ type: 'tmpfs', target: '/srv/memory' });
    const options = () => / \/srv\/memory (\S+)/.exec(mountsOf(container))?.[1];
    const before = options();
    await output(container, 'echo kept > /srv/memory/file');
    const add = [
      { type: 'tmpfs', target: '/srv/memory' },
      { source: join(dir, 'nowhere'), target: '/srv/x' },
    ] as const;
    const update = container.update({ mounts: { remove: ['/srv/memory'], add } });
    // Asked for meanwhile, it comes after.
    const other = container.mount({ type: 'tmpfs', target: '/srv/other' });
    await expect(update).rejects.toMatchObject({ code: 'ERR_NS_MOUNT_SOURCE' });
    await other;
    expect(await output(container, 'cat /srv/memory/file; stat -f -c %T /srv/other')).toBe('kept\ntmpfs\n');
    expect(options()).toBe(before);
    await container.unmount('/srv/memory');
    expect(options()).toBe(undefined);
  });
});

test('mounts of an update: said beforehand, made together, or not at all', async () => {
  await using container = await running();
  const before = mountsOf(container);
  const scratch = { type: 'tmpfs', target: '/srv/scratch', size: '1m' } as const;
  const key = { type: 'file', target: '/run/key', content: Buffer.from('hunter2') } as const;
  const planned = await container.update({ mounts: { add: [scratch, key] } }, { dryRun: true });
  expect(planned).toEqual([
    { field: 'mounts./srv/scratch', from: undefined, to: scratch },
    { field: 'mounts./run/key', from: undefined, to: { ...key, content: '' } },
  ]);
  expect(mountsOf(container)).toBe(before);
  await expect(
    container.update({ mounts: { add: [scratch, { source: join(dir, 'nowhere'), target: '/srv/x' }] } }),
  ).rejects.toMatchObject({ code: 'ERR_NS_MOUNT_SOURCE' });
  expect(mountsOf(container)).toBe(before);
  await container.update({ mounts: { add: [scratch, key] } });
  expect(await output(container, 'stat -f -c %T /srv/scratch; cat /run/key')).toBe('tmpfs\nhunter2');
  expect(await container.update({ mounts: { remove: ['/run/key', '/srv/scratch'] } })).toMatchObject([
    { field: 'mounts./run/key', to: undefined },
    { field: 'mounts./srv/scratch', from: scratch },
  ]);
  expect(mountsOf(container)).toBe(before);
});

describe('a dry run of an update', () => {
  const onFile = '/etc/hostname';
  const refused: Readonly<Record<string, [Parameters<Container['update']>[0], string]>> = {
    'mounts what is not there': [
      { mounts: { add: [{ source: join(dir, 'nowhere'), target: '/srv/x' }] } },
      'ERR_NS_MOUNT_SOURCE',
    ],
    'mounts a directory on a file': [{ mounts: { add: [{ type: 'tmpfs', target: onFile }] } }, 'ENOTDIR'],
    'mounts below a file': [{ mounts: { add: [{ type: 'tmpfs', target: `${onFile}/below` }] } }, 'ENOTDIR'],
    'mounts a file on a directory': [{ mounts: { add: [{ type: 'file', target: '/srv', content: '' }] } }, 'EINVAL'],
    'mounts where nothing can be made': [{ mounts: { add: [{ type: 'tmpfs', target: '/sys/new' }] } }, 'EROFS'],
    'takes away what was not added': [{ mounts: { remove: ['/srv'] } }, 'ERR_NS_NOT_MOUNTED'],
    'begins with what no image has': [
      { mounts: { add: [{ type: 'tmpfs', target: '/srv/x', options: ['tmpcopyup'] }] } },
      'ERR_NS_INVALID_SPEC',
    ],
    'has no network': [{ bandwidth: { egress: '1mbit' } }, 'ERR_NS_NO_NETWORK'],
  };

  test('refuses what the update would refuse, and changes as little', async () => {
    await using container = await running();
    const before = mountsOf(container);
    for (const [what, [update, code]] of Object.entries(refused)) {
      const tried = container.update(update, { dryRun: true }).then(
        () => 'nothing',
        (error) => error.code,
      );
      expect({ what, refused: await tried }).toEqual({ what, refused: code });
      await expect(container.update(update)).rejects.toMatchObject({ code });
    }
    await expect(container.exec('ls', ['/srv', '/sys'])).resolves.toMatchObject({
      stdout: expect.not.stringMatching(/^(x|new)$/m),
    });
    expect(mountsOf(container)).toBe(before);
  });

  test('sees an update as a whole', async () => {
    await using container = await running();
    await container.mount({ type: 'file', target: '/srv/file', content: '' });
    const update = {
      mounts: {
        remove: ['/srv/file'],
        add: [
          { type: 'tmpfs', target: '/srv/new' },
          { type: 'tmpfs', target: '/srv/new/below' },
          { type: 'volume', source: 'planned', target: '/srv/volume' },
        ],
      },
    } as const;
    expect(await container.update(update, { dryRun: true })).toHaveLength(4);
    expect(await output(container, 'ls /srv')).toBe('file\n');
    await expect(Volume.get('planned')).rejects.toMatchObject({ code: 'ERR_NS_NO_SUCH_VOLUME' });
    expect(await container.update(update)).toHaveLength(4);
    await container.remove({ force: true });
    await (await Volume.get('planned')).remove();
  });

  test('of one that does not run says so', async () => {
    await using container = await running();
    await container.kill();
    const refused = { code: 'ERR_NS_CONTAINER_NOT_RUNNING' };
    for (const dryRun of [true, false])
      await expect(container.update({ limits: { pids: 64 } }, { dryRun })).rejects.toMatchObject(refused);
  });
});
