import { chownSync, existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { Namespace, unpin } from '@ns/namespaces';
import { eventually, needs, notRoot } from '@ns/testing';
import { Container, Network, type RunOptions, run } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';
import { NodeProgram } from './node-program.ts';

/* Containers in the user namespace and in the mounts of others: of another container, of this machine, by a path. */

const rootTest = needs(notRoot);
const test = (name: string, body: () => Promise<void>, timeoutMs = 30_000) =>
  rootTest(name, () => leavesNothing(body), timeoutMs);
const state = useOwnStateRoot();
type Spec = Omit<Parameters<typeof Container.create>[0], 'command'>;
type Kind = keyof NonNullable<Spec['namespaces']>;

const everyKind = ['user', 'mount', 'pid', 'net', 'uts', 'ipc', 'cgroup', 'time'] as const;
const of = (container: Container, ...kinds: readonly Kind[]): { namespaces: NonNullable<Spec['namespaces']> } => ({
  namespaces: Object.fromEntries(kinds.map((kind) => [kind, { container }])),
});
const linkOf = (pid: number | string, kind: string) =>
  readlinkSync(`/proc/${pid}/ns/${kind === 'mount' ? 'mnt' : kind}`);
const hostId = (pid: number) => Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);

async function running(spec: Partial<Parameters<typeof Container.create>[0]> = {}): Promise<Container> {
  const container = await Container.create({ command: ['sleep', '600'], ...spec });
  await container.start();
  return container;
}

const output = async (container: Container, script: string) => {
  const { stdout, stderr } = await container.exec('sh', ['-c', script]);
  return stdout + stderr;
};
const said = async (script: string, options: RunOptions) => {
  const { stdout, stderr } = await run('sh', ['-c', script], options);
  return stdout + stderr;
};

describe('the user namespace of a container with ids of its own', () => {
  for (const idMap of ['auto', ownRange()] as const)
    test(`is shared with its ids (${typeof idMap === 'string' ? idMap : 'given'})`, async () => {
      await using first = await running({ idMap });
      const user = `/proc/${first.pid}/ns/user`;
      for (const spec of [of(first, 'user'), { namespaces: { user: { path: user } } }]) {
        await using second = await running({ hostname: 'second', sysctls: { 'net.ipv4.ip_forward': 1 }, ...spec });
        for (const kind of everyKind)
          expect([kind, linkOf(second.pid!, kind) === linkOf(first.pid!, kind)]).toEqual([kind, kind === 'user']);
        expect(hostId(second.pid!)).toBe(hostId(first.pid!));
        expect(await output(second, 'id -u; hostname; cat /proc/sys/net/ipv4/ip_forward; echo /proc/[0-9]*')).toBe(
          '0\nsecond\n1\n/proc/1 /proc/2 /proc/3\n',
        );
        // All else is its own.
        expect(await output(second, 'touch /srv/second; stat -c %u /srv/second')).toBe('0\n');
        expect(await output(first, 'ls /srv')).toBe('');
        expect((await second.diff()).map(({ path }) => path)).toEqual(['/srv/second']);
      }
      expect(await said('id -u; readlink /proc/self/ns/user', of(first, 'user'))).toBe(
        `0\n${linkOf(first.pid!, 'user')}\n`,
      );
    });

  test('a user other than root, a limit of time, and what a layer has are as in one of its own', async () => {
    await using first = await running({ idMap: 'auto' });
    const { stdout } = await run('sh', ['-c', 'id -u; id -g; cat /proc/self/oom_score_adj'], {
      ...of(first, 'user'),
      user: '1000:100',
      oomScoreAdj: 321,
    });
    expect(stdout).toBe('1000\n100\n321\n');
    expect(await run('sleep', ['60'], { ...of(first, 'user'), timeout: 300 })).toMatchObject({ reason: 'timeout' });
    const root = mkdtempSync(join(tmpdir(), 'core-layer-'));
    try {
      const { stdout } = await run(['/bin/busybox', 'stat', '-c', '%u', '/bin'], {
        ...of(first, 'user'),
        rootfs: { dir: root },
        mounts: [{ source: '/bin/busybox', target: '/bin/busybox', readonly: true }],
      });
      expect(stdout).toBe('0\n');
    } finally {
      rmSync(root, { recursive: true });
    }
  });

  test('its ids are nobody else’s until the last that has them is gone', async () => {
    const first = await running({ idMap: 'auto' });
    const second = await running(of(first, 'user'));
    const ids = hostId(second.pid!);
    await first.remove({ force: true });
    {
      await using other = await running({ idMap: 'auto' });
      expect(hostId(other.pid!)).not.toBe(ids);
    }
    await expect(second.restart()).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_NOT_FOUND' });
    await second.remove({ force: true });
    await using next = await running({ idMap: 'auto' });
    expect(hostId(next.pid!)).toBe(ids);
  });

  test('the other may be restarted beside it', async () => {
    await using first = await running({ idMap: 'auto', name: 'restarted-beside' });
    await using second = await running(of(first, 'user'));
    await first.restart();
    expect(hostId(first.pid!)).toBe(hostId(second.pid!));
    expect(linkOf(first.pid!, 'user')).not.toBe(linkOf(second.pid!, 'user'));
    await second.restart();
    expect(linkOf(first.pid!, 'user')).toBe(linkOf(second.pid!, 'user'));
    await first.stop();
    await expect(second.restart()).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_NOT_RUNNING' });
  });

  for (const dieWithParent of [true, false])
    test(`the other may not be another with other ids, where files of those before are (dieWithParent: ${dieWithParent})`, async () => {
      const name = 'made-anew';
      const first = await running({ idMap: 'auto', name });
      await using second = await running({
        namespaces: { user: { container: name }, mount: 'private' },
        lifetime: { dieWithParent },
      });
      await second.stop({ timeout: 0 });
      await first.remove({ force: true });
      await using between = await running({ idMap: 'auto' });
      await using other = await running({ idMap: 'auto' });
      await using anew = await running({ idMap: 'auto', name });
      expect(new Set([between, other, anew].map(({ pid }) => hostId(pid!))).size).toBe(3);
      await expect(second.start()).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC', field: 'namespaces.user' });
    });

  test('with its processes they are seen, and its own are not in danger', async () => {
    await using first = await running({ idMap: 'auto', capabilities: { add: ['SYS_PTRACE'] } });
    await using second = await running({ ...of(first, 'user', 'pid'), init: false });
    const seen = await output(first, 'cat /proc/[0-9]*/comm');
    expect(seen.match(/sleep/g)).toHaveLength(2);
    expect(await output(second, 'kill -0 1 && echo reached')).toBe('reached\n');
    await first.stop({ timeout: 0 });
    expect(await second.wait()).toMatchObject({ signal: 'SIGKILL' });
  });

  test('who has CAP_SYS_PTRACE over it may not look at who comes in, wherever it is seen', async () => {
    await using first = await running({ idMap: 'auto' });
    for (const kinds of [['user'], ['user', 'pid'], everyKind] as const) {
      const plan = String(Container.explain({ command: ['true'], ...of(first, ...kinds) }));
      const [refusesPtrace, isIn] = [/ notDumpable:/, / setns: .*user/].map((step) => plan.search(step)) as [
        number,
        number,
      ];
      expect(refusesPtrace).toBeGreaterThan(0);
      expect(isIn).toBeGreaterThan(refusesPtrace);
    }
  });

  test('whoever stops all that comes in holds up nobody who has given it a time', async () => {
    await using first = await running({ idMap: 'auto', command: ['sh', '-c', 'while :; do kill -STOP -1; done'] });
    const spec = { command: ['sleep', '600'], ...of(first, 'user', 'pid') };
    // It may be through before it is seen.
    for (let round = 0; round < 5; round++)
      try {
        await using late = await Container.create(spec, { timeout: 500 });
        expect(late.status).toBe('created');
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_NS_TIMEOUT' });
      }
    expect(await Container.list()).toHaveLength(1);
  });

  test('whoever stops all that comes in holds up no end of what is started again', async () => {
    await using first = await running({ idMap: 'auto' });
    await using second = await running(of(first, 'user', 'pid'));
    const hostile = first.exec('sh', ['-c', 'while :; do kill -STOP -1; done']);
    hostile.catch(() => {});
    // One may be through before it is seen.
    const codes = new Set<string>();
    for (let round = 0; round < 20 && !codes.has('ERR_NS_CONTAINER_STOPPED'); round++) {
      const restarted = second.restart({ timeout: 0 }).catch((error) => codes.add(error.code));
      await delay(100);
      await second.stop({ timeout: 100 });
      await restarted;
    }
    expect([...codes]).toEqual(['ERR_NS_CONTAINER_STOPPED']);
    const restarted = second.restart().catch((error) => error.code);
    await second.remove({ force: true });
    expect([undefined, 'ERR_NS_CONTAINER_STOPPED', 'ERR_NS_CONTAINER_REMOVED']).toContain(await restarted);
  }, 120_000);

  test('the processes of a container that is not in it are refused', async () => {
    await using first = await running({ idMap: 'auto' });
    await using foreign = await running({ capabilities: [] });
    const namespaces = { user: { container: first }, pid: { container: foreign } };
    await expect(run('true', [], { namespaces })).rejects.toMatchObject({ field: 'namespaces.pid' });
  });

  test('the processes of this machine are refused, unless its mounts are shared, too', async () => {
    await using first = await running({ idMap: 'auto' });
    for (const spec of [of(first, 'user'), { idMap: 'auto' } as const])
      await expect(
        run('true', [], { ...spec, namespaces: { ...('namespaces' in spec && spec.namespaces), pid: 'host' } }),
      ).rejects.toMatchObject({ field: 'namespaces.pid', hint: expect.stringContaining('namespaces.mount') });
    const { stdout } = await run('readlink', ['/proc/self/ns/pid'], {
      idMap: 'auto',
      namespaces: { pid: 'host', mount: 'host' },
    });
    expect(stdout).toBe(`${linkOf('self', 'pid')}\n`);
  });

  test('one without a root is refused, and one in which nobody is', async () => {
    const unshared = ['--user', '--map-user=1000', '--fork', 'sleep', '600'];
    await using maker = await running({ namespaces: { mount: 'host' }, privileged: true });
    const process = maker.exec('unshare', unshared);
    process.catch(() => {});
    let pid: number | undefined;
    await eventually(async () => {
      const isInside = (found: number) => linkOf(found, 'user') !== linkOf('self', 'user');
      pid = (await maker.processes()).find(({ name, hostPid }) => name === 'sleep' && isInside(hostPid))?.hostPid;
      return pid !== undefined;
    });
    const user = { path: `/proc/${pid}/ns/user` };
    await expect(run('true', [], { namespaces: { user } })).rejects.toMatchObject({
      field: 'namespaces.user',
      expected: expect.stringContaining('id 0'),
    });
    const pin = join(mkdtempSync(join(tmpdir(), 'core-pin-')), 'user');
    {
      using namespace = Namespace.open('user', user);
      namespace.pin(pin);
    }
    try {
      process.kill('SIGKILL');
      await process;
      await expect(run('true', [], { namespaces: { user: { path: pin } } })).rejects.toMatchObject({
        field: 'namespaces.user',
        expected: expect.stringContaining('a process is in'),
      });
    } finally {
      unpin(pin);
      rmSync(dirname(pin), { recursive: true, force: true });
    }
  });
});

describe('mounts of others', () => {
  test('of this machine: its files, as they are', async () => {
    const place = mkdtempSync(join(tmpdir(), 'core-host-'));
    try {
      await using container = await running({
        namespaces: { mount: 'host' },
        hostname: 'guest',
        sysctls: { 'net.ipv4.ip_forward': 1 },
      });
      for (const kind of everyKind)
        expect([kind, linkOf(container.pid!, kind) === linkOf('self', kind)]).toEqual([
          kind,
          kind === 'mount' || kind === 'user',
        ]);
      expect(
        await output(container, `hostname; cat /proc/sys/net/ipv4/ip_forward; echo x > ${place}/from-inside`),
      ).toBe('guest\n1\n');
      expect(readFileSync(join(place, 'from-inside'), 'utf8')).toBe('x\n');
      expect(readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8')).not.toBe('');
      expect(await container.diff()).toEqual([]);
      expect(await text(container.exec('cat', ['/proc/sys/kernel/hostname']).stdout!)).toBe('guest\n');
    } finally {
      rmSync(place, { recursive: true });
    }
  });

  test('of this machine with ids of its own: what is nobody’s may not be written', async () => {
    const place = mkdtempSync(join(tmpdir(), 'core-host-'));
    try {
      const namespaces = { mount: 'host' } as const;
      expect(await said(`id -u; touch ${place}/x; cat /etc/shadow`, { idMap: 'auto', namespaces })).toMatch(
        /^0\ntouch: .*denied\ncat: .*denied\n$/,
      );
      expect(existsSync(join(place, 'x'))).toBe(false);
    } finally {
      rmSync(place, { recursive: true });
    }
  });

  for (const spec of [{}, { idMap: 'auto' }] as const)
    test(`of this machine: a terminal is one of its own (${JSON.stringify(spec)})`, async () => {
      const shared = { ...spec, tty: true, namespaces: { mount: 'host' } } as const;
      const { stdout } = await run('sh', ['-c', 'tty; stty size; test -O $(tty) && echo mine'], shared);
      expect(stdout).toMatch(/^\/dev\/pts\/\d+\r\n24 80\r\nmine\r\n$/);
      await using container = await running(shared);
      const command = await container.exec('tty', [], { tty: true });
      expect(command.stdout).toMatch(/^\/dev\/pts\/\d+\r\n$/);
    });

  test('of this machine: of its devices only those that every container has, or that were given', async () => {
    const device = existsSync('/dev/loop-control') ? '/dev/loop-control' : '/dev/kmsg';
    const script = `if true < ${device}; then echo open; fi; head -c1 /dev/zero | wc -c`;
    const namespaces = { mount: 'host' } as const;
    expect(await said(script, { namespaces })).toMatch(/^1\n.*Operation not permitted\n$/);
    expect(await said(script, { namespaces, devices: [device] })).toBe('open\n1\n');
    // Also with ids for which the modes of its nodes are no obstacle.
    const range = { container: 0, host: 0, size: 65_536 };
    const idMap = { uids: [range], gids: [range] };
    expect(await said(script, { namespaces, idMap })).toMatch(/^1\n.*Operation not permitted\n$/);
    expect(await said(script, { namespaces, idMap, devices: [device] })).toBe('open\n1\n');
  });

  test('of a container: one file system for both', async () => {
    await using first = await running();
    await output(first, 'echo of-first > /srv/one');
    const mounts = `/proc/${first.pid}/ns/mnt`;
    for (const spec of [of(first, 'mount'), { namespaces: { mount: { path: mounts } } }]) {
      await using second = await running({ ...spec, cwd: '/srv', user: 'daemon' });
      expect(linkOf(second.pid!, 'mount')).toBe(linkOf(first.pid!, 'mount'));
      expect(linkOf(second.pid!, 'pid')).not.toBe(linkOf(first.pid!, 'pid'));
      expect(await output(second, 'pwd; id -un; cat one; id -u; cat < /dev/null')).toBe('/srv\ndaemon\nof-first\n1\n');
      expect(await second.diff()).toEqual([]);
      expect(() => second.export()).not.toThrow();
    }
    expect((await first.diff()).map(({ path }) => path)).toEqual(['/srv/one']);
  });

  test('where it shall begin has to be there: nothing is made in the file system of others', async () => {
    await using first = await running();
    const options = { ...of(first, 'mount'), cwd: '/not/there' };
    await expect(run('true', [], options)).rejects.toMatchObject({ message: expect.stringContaining('ENOENT') });
    expect(await output(first, 'ls /not')).toMatch(/No such file/);
  });

  test('of a container with ids of its own: with its user namespace', async () => {
    await using first = await running({ idMap: 'auto' });
    await output(first, 'echo of-first > /srv/one');
    expect(await said('cat /srv/one; stat -c %u /srv/one', of(first, 'user', 'mount'))).toBe('of-first\n0\n');
    for (const [spec, hint] of [
      [of(first, 'mount'), /namespaces.user/],
      [{ ...of(first, 'mount'), idMap: 'auto' }, /in the place of idMap/],
    ] as const)
      await expect(run('true', [], spec)).rejects.toMatchObject({
        code: 'ERR_NS_INVALID_SPEC',
        field: 'namespaces.mount',
        hint: expect.stringMatching(hint),
      });
  });

  for (const spec of [{}, { idMap: 'auto' }] as const)
    test(`all namespaces of a container, as an exec that is a container (${JSON.stringify(spec)})`, async () => {
      await using first = await running({ ...spec, hostname: 'first', shmSize: '1m', capabilities: [] });
      await output(first, 'echo mine > /dev/shm/one');
      const kinds = 'idMap' in spec ? everyKind : everyKind.filter((kind) => kind !== 'user');
      await using second = await running(of(first, ...kinds));
      for (const kind of everyKind) expect(linkOf(second.pid!, kind)).toBe(linkOf(first.pid!, kind));
      expect(await output(second, 'hostname; cat /dev/shm/one; cat /proc/1/comm')).toBe('first\nmine\nns-init\n');
      const terminal = await second.exec('sh', ['-c', 'tty; stty size'], { tty: true });
      expect(terminal.stdout).toBe('/dev/pts/0\r\n24 80\r\n');
      await second.restart();
      expect(await output(second, 'echo again')).toBe('again\n');
      await using copied = await running({ ...of(first, ...kinds), tty: true });
      expect(await output(copied, 'echo with a terminal')).toBe('with a terminal\n');
    });

  test('files go in and out while it runs', async () => {
    await using first = await running();
    await using second = await running(of(first, 'mount'));
    const place = mkdtempSync(join(tmpdir(), 'core-copy-'));
    try {
      await second.copyIn(readlinkSync('/proc/self/exe'), '/srv/node');
      expect(await output(first, 'ls /srv')).toBe('node\n');
      await second.copyOut('/etc/passwd', join(place, 'passwd'));
      expect(existsSync(join(place, 'passwd'))).toBe(true);
      await second.stop({ timeout: 0 });
      await expect(second.copyOut('/etc/passwd', place)).rejects.toMatchObject({ code: 'ERR_NS_NO_LAYER' });
    } finally {
      rmSync(place, { recursive: true });
    }
  });

  test('what says how a root of its own is put together is refused, and what would change the other’s', async () => {
    await using first = await running();
    const shared = of(first, 'mount');
    for (const [field, spec] of Object.entries({
      rootfs: { rootfs: '/' },
      writable: { writable: 'none' },
      mounts: { mounts: [{ type: 'tmpfs', target: '/x' }] },
      shmSize: { shmSize: '1m' },
      maskedPaths: { maskedPaths: ['/etc'] },
      readonlyPaths: { readonlyPaths: ['/etc'] },
      dns: { dns: ['10.0.0.1'] },
      extraHosts: { extraHosts: { a: '10.0.0.1' } },
      cgroupAccess: { cgroupAccess: 'delegated' },
    } satisfies Partial<Record<keyof Spec, Spec>>))
      await expect(run('true', [], { ...shared, ...(spec as RunOptions) })).rejects.toMatchObject({
        code: 'ERR_NS_INVALID_SPEC',
        field,
      });
    await using second = await running(shared);
    const tmpfs = { type: 'tmpfs', target: '/srv' } as const;
    await expect(second.mount(tmpfs)).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
    await expect(second.update({ mounts: { add: [tmpfs] } })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
    expect(await output(first, 'grep -c " /srv " /proc/self/mountinfo')).toBe('0\n');
  });

  test('a network gives it addresses and writes no file of others', async () => {
    await using network = await Network.create({ name: 'ns-of-others', subnet: '10.247.9.0/24' });
    const before = readFileSync('/etc/hosts', 'utf8');
    {
      await using container = await running({ namespaces: { mount: 'host' }, network, hostname: 'guest' });
      expect(await output(container, 'ip -4 -o addr show dev eth0 | tr -s " " | cut -d" " -f4')).toMatch(
        /^10\.247\.9\./,
      );
      await container.rename('another');
      await network.disconnect(container);
      await network.connect(container);
      expect(readFileSync('/etc/hosts', 'utf8')).toBe(before);
    }
    await network.remove();
    expect(readFileSync('/etc/hosts', 'utf8')).toBe(before);
  });
});

test('who has the network of others is not connected to one more in their place', async () => {
  await using network = await Network.create({ name: 'ns-not-own', subnet: '10.247.10.0/24' });
  {
    await using first = await running();
    for (const spec of [
      of(first, 'net'),
      { network: { container: first } },
      { network: 'host' },
      { namespaces: { net: 'host' } },
      { ...of(first, 'net'), idMap: 'auto' },
    ] as const) {
      await using second = await running(spec);
      await expect(network.connect(second)).rejects.toMatchObject({ code: 'ERR_NS_NO_NETWORK' });
    }
    expect(await output(first, 'ls /sys/class/net')).toBe('lo\n');
  }
  await network.remove();
});

test('another process finds it, also when the one it shares with has ended', async () => {
  const survives = { lifetime: { dieWithParent: false } } as const;
  await using first = await running({ idMap: 'auto', ...survives });
  await using second = await running({ ...of(first, 'user', 'mount', 'net', 'ipc'), ...survives, hostname: 'second' });
  await output(second, 'echo here > /srv/one');
  using program = new NodeProgram(
    'finder',
    `import { Container } from ${JSON.stringify(join(import.meta.dirname, '../src/index.ts'))};
     await using found = await Container.get(process.argv[2]!);
     const { stdout } = await found.exec('sh', ['-c', 'cat /srv/one; id -u; hostname']);
     process.stdout.write(stdout + (await found.processes()).length);`,
  );
  const expected = 'here\n0\nsecond\n2';
  expect(await program.run([second.id])).toMatchObject({ stdout: expected, stderr: '' });
  await first.remove({ force: true });
  expect(await program.run([second.id])).toMatchObject({ stdout: expected, stderr: '' });
});

test('nothing stays of one whose start fails between the two', async () => {
  await using first = await running({ idMap: 'auto' });
  await expect(run('true', [], { ...of(first, 'user'), user: '70000' })).rejects.toMatchObject({
    message: expect.stringContaining('EINVAL'),
  });
  await expect(
    Container.create({ command: ['true'], ...of(first, 'user'), mounts: [{ source: '/none', target: '/x' }] }),
  ).rejects.toMatchObject({ code: 'ERR_NS_MOUNT_SOURCE' });
  expect(existsSync(join(state.path, 'ids'))).toBe(true);
});

describe('an ordinary user', () => {
  const all = ['0', 'first', 'ns-init sleep', 'here'];
  let seen: Record<string, unknown> = {};
  beforeAll(async () => {
    if (notRoot) return;
    using program = new NodeProgram('neighbours');
    const directory = mkdtempSync(join(tmpdir(), 'core-rootless-'));
    const id = 54_321;
    chownSync(directory, id, id);
    try {
      const env = { NS_STATE_ROOT: join(directory, 'state') };
      const { stdout, stderr } = await program.run([], { uid: id, gid: id, env });
      expect(stderr).toBe('');
      seen = JSON.parse(stdout);
    } finally {
      rmSync(directory, { recursive: true });
    }
  }, 60_000);

  rootTest('shares what is his own', () => {
    expect(seen['only its user namespace']).toMatchObject({
      lines: ['0', 'second', 'ns-init'],
      stderr: '',
    });
    expect(seen['its user namespace and its processes']).toMatchObject({
      lines: ['0', 'second', 'ns-init sleep'],
      stderr: '',
    });
    expect(seen['its user namespace and its mounts']).toMatchObject({ lines: ['0', 'second', '', 'here'] });
    expect(seen['all of its namespaces']).toMatchObject({ lines: all, stderr: '' });
    const exec = { exitCode: 0, lines: expect.arrayContaining(['first', 'here']), stderr: '' };
    expect(seen['a neighbour']).toMatchObject({ exec, again: exec });
    expect(seen['the mounts of this machine']).toMatchObject({ lines: ['0'], stderr: expect.stringMatching(/denied/) });
  });

  rootTest('hears whose network he is to share instead of one that is connected for him', () => {
    expect(seen['its user namespace and a network']).toMatchObject({
      error: 'ERR_NS_INVALID_SPEC',
      hint: expect.stringContaining('namespaces.net'),
    });
  });

  rootTest('hears that the rest is to be had with the user namespace of the other', () => {
    for (const kind of ['mounts', 'processes', 'network'])
      expect([kind, seen[`its ${kind} alone`]]).toMatchObject([
        kind,
        { error: 'ERR_NS_INVALID_SPEC', hint: expect.stringMatching(/namespaces\.user|user namespace/) },
      ]);
  });
});

function ownRange(): NonNullable<Spec['idMap']> {
  const range = { container: 0, host: 2_000_000_000, size: 65_536 };
  return { uids: [range], gids: [range] };
}
