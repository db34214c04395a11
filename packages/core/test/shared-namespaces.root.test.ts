import { existsSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { needs, notRoot } from '@ns/testing';
import { Container, run } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* Namespaces that are not the container's own, as the links of /proc/PID/ns name them, and the memory that goes with one. */

const rootTest = needs(notRoot);
const test = (name: string, body: () => Promise<void>) => rootTest(name, () => leavesNothing(body));
useOwnStateRoot();
type Spec = Omit<Parameters<typeof Container.create>[0], 'command'>;

const kinds = ['pid', 'net', 'uts', 'ipc', 'cgroup', 'time', 'mnt', 'user'] as const;
const linkOf = (pid: number | 'self', kind: string) => readlinkSync(`/proc/${pid}/ns/${kind}`);
const linksOf = (pid: number) => Object.fromEntries(kinds.map((kind) => [kind, linkOf(pid, kind)]));

async function withRunning(spec: Spec, use: (container: Container) => Promise<void>): Promise<void> {
  await using container = await Container.create({ command: ['sleep', '600'], ...spec });
  await container.start();
  await use(container);
}

const output = async (container: Container, script: string) => {
  const { stdout, stderr } = await container.exec('sh', ['-c', script]);
  return stdout + stderr;
};

for (const kind of ['pid', 'net', 'uts', 'ipc', 'cgroup', 'time'] as const)
  test(`${kind} of the host, of a container, and by a path`, () =>
    withRunning({}, async (other) => {
      const path = `/proc/${other.pid}/ns/${kind}`;
      for (const [choice, expected] of [
        ['private', undefined],
        ['host', linkOf('self', kind)],
        [{ container: other }, linkOf(other.pid!, kind)],
        [{ container: other.id }, linkOf(other.pid!, kind)],
        [{ path }, linkOf(other.pid!, kind)],
      ] as const)
        await withRunning({ namespaces: { [kind]: choice } }, async (container) => {
          const links = linksOf(container.pid!);
          const shared = kinds.filter((one) => [linkOf('self', one), linkOf(other.pid!, one)].includes(links[one]!));
          expect(shared).toEqual(expected ? [kind, 'user'] : ['user']);
          if (expected) expect(links[kind]).toBe(expected);
          expect(await output(container, `readlink /proc/self/ns/${kind}`)).toBe(`${links[kind]}\n`);
        });
    }));

test('time of a container whose clocks are its own', () =>
  withRunning({ namespaces: { time: { boottimeNs: 1e15 } } }, async (other) => {
    await withRunning({ namespaces: { time: { container: other } } }, async (container) => {
      expect(Number((await output(container, 'cat /proc/uptime')).split('.')[0])).toBeGreaterThan(1e6);
    });
    const { stdout } = await run('cat', ['/proc/uptime'], {
      idMap: 'auto',
      namespaces: { time: { path: `/proc/${other.pid}/ns/time` } },
    });
    expect(Number(stdout.split('.')[0])).toBeGreaterThan(1e6);
  }));

test('the user namespace of a container that has the one of the host is that', () =>
  withRunning({}, async (other) => {
    for (const user of [{ container: other }, { path: '/proc/self/ns/user' }])
      await withRunning({ namespaces: { user }, devices: [{ path: '/dev/fuse' }] }, async (container) => {
        expect(linkOf(container.pid!, 'user')).toBe(linkOf('self', 'user'));
        expect(await output(container, 'id -u')).toBe('0\n');
      });
  }));

test('who joins nothing but that has the devices that others have, and no more', () =>
  withRunning({}, async (other) => {
    const read = (spec: Spec) =>
      run('sh', ['-c', 'mknod /nodes/x b 7 0 && head -c1 /nodes/x'], {
        capabilities: { add: ['SYS_ADMIN'] },
        mounts: [{ type: 'tmpfs', target: '/nodes', options: ['dev'] }],
        ...spec,
      });
    const [plain, joined] = [await read({}), await read({ namespaces: { user: { container: other } } })];
    expect(plain.stderr).toMatch(/not permitted/);
    expect([joined.exitCode, joined.stderr]).toEqual([plain.exitCode, plain.stderr]);
  }));

test('with the ipc namespace of a container goes its /dev/shm, and nothing more', () =>
  withRunning({ shmSize: '1m' }, async (other) => {
    await output(other, 'echo from-other > /dev/shm/one');
    for (const spec of [{}, { idMap: 'auto' }] as const)
      await withRunning({ namespaces: { ipc: { container: other } }, ...spec }, async (container) => {
        expect(await output(container, 'cat /dev/shm/one; echo back > /dev/shm/two')).toBe('from-other\n');
        expect(await output(other, 'cat /dev/shm/two; rm /dev/shm/two')).toBe('back\n');
        expect(shmOptions(container)).toEqual(expect.arrayContaining(['rw', 'nosuid', 'nodev', 'noexec']));
        expect(await output(container, 'cp /bin/true /dev/shm/x && /dev/shm/x; rm -f /dev/shm/x')).toMatch(/denied/);
      });
    expect(await output(other, 'cat /dev/shm/one')).toBe('from-other\n');
    await withRunning({ namespaces: { ipc: { path: `/proc/${other.pid}/ns/ipc` } } }, async (container) =>
      expect(await output(container, 'ls /dev/shm')).toBe(''),
    );
  }));

test('with that of the host, the host has it', async () => {
  const name = `ns-test-${process.pid}`;
  writeFileSync(`/dev/shm/${name}`, 'of the host\n', { mode: 0o666 });
  try {
    await withRunning({ namespaces: { ipc: 'host' } }, async (container) => {
      expect(await output(container, `cat /dev/shm/${name}; rm /dev/shm/${name}`)).toBe('of the host\n');
      expect(existsSync(`/dev/shm/${name}`)).toBe(false);
      expect(shmOptions(container)).toEqual(expect.arrayContaining(['rw', 'nosuid', 'nodev', 'noexec']));
    });
  } finally {
    rmSync(`/dev/shm/${name}`, { force: true });
  }
});

test('a container that has put a link in its place leads nobody out', () =>
  withRunning(
    { capabilities: { add: ['SYS_ADMIN'] }, seccomp: 'unconfined', apparmor: 'unconfined' },
    async (other) => {
      expect(await output(other, 'umount /dev/shm && rmdir /dev/shm && ln -s /proc/1/root/etc /dev/shm')).toBe('');
      const joining = run('ls', ['/dev/shm'], { namespaces: { ipc: { container: other } } });
      await expect(joining).rejects.toMatchObject({ code: 'ELOOP' });
    },
  ));

test('nothing is held once it was made, and one that has ended shares nothing', async () => {
  await using other = await Container.create({ command: ['sleep', '600'] });
  await other.start();
  const namespaces = { ipc: { container: other } };
  // Of the others, tests that run at the same time have some.
  const memories = () =>
    readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((mount) => mount.includes('shm'));
  const before = memories();
  for (let round = 0; round < 3; round++) await run('true', [], { namespaces });
  expect(memories()).toEqual(before);
  await other.kill();
  await expect(run('true', [], { namespaces })).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_NOT_RUNNING' });
});

const shmOptions = (container: Container) =>
  / \/dev\/shm (\S+)/.exec(readFileSync(`/proc/${container.pid}/mountinfo`, 'utf8'))![1]!.split(',');
