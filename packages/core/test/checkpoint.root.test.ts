import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cgroup } from '@ns/cgroups';
import { eventually, needs, notRoot } from '@ns/testing';
import { CheckpointError, Container, type ContainerSpec, probe, UnavailableError } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';
import { NodeProgram } from './node-program.ts';

/* Where CRIU gets on with the kernel: npm run test:vm -- packages/core/test/checkpoint.root */

useOwnStateRoot();
const criu = notRoot === undefined ? (await probe()).criu : undefined;
const cgroups = notRoot === undefined ? await cgroupMode() : undefined;
const unavailable = criu?.ok
  ? cgroups === 'v2'
    ? undefined
    : 'not a cgroup v2 host'
  : `no working CRIU: ${criu?.why}`;
const test = needs(notRoot ?? unavailable);

async function cgroupMode(): Promise<string> {
  await using cgroup = await Cgroup.create('ns-checkpoint-test', {});
  return cgroup.host.mode;
}

let place: string;
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'checkpoint-'));
});
afterEach(async () => {
  for (const { id } of await Container.list()) await (await Container.get(id)).remove({ force: true });
  rmSync(place, { recursive: true, force: true });
});

// What it has counted is in its memory, in a file it has open, and in a file system of its own.
const counting = `
  i=0; exec 5>/tmp/counted; trap 'exit 9' TERM
  while [ ! -e /tmp/stop ]; do i=$((i+1)); echo $i; echo $i >&5; sleep 0.05; done
  wc -l </tmp/counted; exit 7`;
const counter: ContainerSpec = {
  command: ['sh', '-c', counting],
  user: '1000:1000',
  limits: { memory: '64MiB', pids: 40 },
  hostname: 'counter',
};

async function startCounter(spec: Partial<ContainerSpec> = {}): Promise<Container> {
  const container = await Container.create({ ...counter, ...spec });
  await container.start();
  await output(container, /^3$/m);
  return container;
}

/** Waits until its output looks like this. */
async function output(container: Container, wanted: RegExp): Promise<string> {
  let text = '';
  for await (const { data } of container.logs({ follow: true })) {
    text += data.toString();
    if (wanted.test(text)) return text;
  }
  throw new Error(`it ended, and wrote ${text}`);
}

/** The numbers that it printed, which shall be one after the other. */
function numbers(text: string): number[] {
  const found = text.trim().split('\n').map(Number);
  expect(text.trim()).toBe(found.map((_, index) => found[0]! + index).join('\n'));
  return found;
}

/** What the kernel knows of the privileges of each of its processes. */
async function privileges(container: Container): Promise<string[]> {
  const fields = /^(?:Uid|Gid|Groups|Cap\w+|NoNewPrivs|Seccomp|Seccomp_filters|SigIgn|Umask):.*$/gm;
  const all = (await container.processes()).filter(({ pid }) => pid <= 2);
  return all.map(({ hostPid }) =>
    [...readFileSync(`/proc/${hostPid}/status`, 'utf8').match(fields)!, labelOf(hostPid)].join('\n'),
  );
}

/** By a security module, where there is one. */
function labelOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/attr/current`, 'utf8');
  } catch {
    return '';
  }
}

/** Where, from what kind of file system, and with which attributes: without the numbers that are others each time. */
function mounts(container: Container): string[] {
  const lines = readFileSync(`/proc/${container.pid}/mountinfo`, 'utf8').trim().split('\n');
  return lines.map((line) => /^\S+ \S+ \S+ \S+ (\S+ \S+).* - (\S+)/.exec(line)!.slice(1).join(' ')).sort();
}

async function stopCounting(container: Container): Promise<{ counted: number; exitCode: number | null; text: string }> {
  await container.exec('touch', ['/tmp/stop'], { user: '1000:1000' });
  const { exitCode, stdout } = await container.wait();
  const lines = stdout.trim().split('\n');
  return { counted: Number(lines.at(-1)), exitCode, text: lines.slice(0, -1).join('\n') };
}

test('what was counting goes on where it was, with the same privileges, limits and files; and once more', async () => {
  await leavesNothing(async () => {
    const first = await startCounter({ name: 'counter' });
    const before = { privileges: await privileges(first), mounts: mounts(first) };
    await first.checkpoint({ directory: join(place, 'one') });
    expect(first.status).toBe('stopped');
    const counted = numbers((await first.wait()).stdout).at(-1)!;
    await first.remove();

    const second = await Container.restore({ directory: join(place, 'one') });
    expect(second).toMatchObject({ name: 'counter', status: 'running' });
    expect(second.id).not.toBe(first.id);
    expect({ privileges: await privileges(second), mounts: mounts(second) }).toEqual(before);
    expect(
      await second.exec('sh', ['-c', 'hostname; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max']),
    ).toMatchObject({
      stdout: `counter\n${64 * 2 ** 20}\n40\n`,
    });
    await output(second, new RegExp(`^${counted + 3}$`, 'm'));

    await second.checkpoint({ directory: join(place, 'two') });
    const printed = numbers((await second.wait()).stdout);
    expect(printed[0]).toBe(counted + 1);
    await second.remove();

    const third = await Container.restore({ directory: join(place, 'two'), name: 'third' });
    expect(await privileges(third)).toEqual(before.privileges);
    await output(third, new RegExp(`^${printed.at(-1)! + 2}$`, 'm'));
    const end = await stopCounting(third);
    expect(end.exitCode).toBe(7);
    expect(numbers(end.text)[0]).toBe(printed.at(-1)! + 1);
    // Each number was written into the file once.
    expect(end.counted).toBe(numbers(end.text).at(-1));
    expect(await third.diff()).toEqual(expect.arrayContaining([expect.objectContaining({ path: '/tmp/counted' })]));
    await third.remove();
  });
}, 240_000);

/** Its namespaces, as links of /proc/PID/ns name them. */
const namespaceKinds = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'time', 'uts'] as const;
const namespacesOf = (pid: number) => namespaceKinds.map((kind) => readlinkSync(`/proc/${pid}/ns/${kind}`));

/** The same of a process that is executed in it. */
async function namespacesInside(container: Container): Promise<string[]> {
  const paths = namespaceKinds.map((kind) => `/proc/self/ns/${kind}`);
  return (await container.exec('readlink', paths, { check: true })).stdout.trim().split('\n');
}

test('commands and clocks are those of the container that was restored, in all its namespaces', async () => {
  await leavesNothing(async () => {
    const directory = join(place, 'checkpoint');
    const hour = 3600;
    const uptime = async (container: Container) => {
      const { stdout } = await container.exec('cat', ['/proc/uptime'], { check: true });
      return Number(stdout.split(' ')[0]);
    };
    const original = await startCounter({ namespaces: { time: { boottimeNs: hour * 1e9, monotonicNs: hour * 1e9 } } });
    expect(await namespacesInside(original)).toEqual(namespacesOf(original.pid!));
    const before = await uptime(original);
    expect(before).toBeGreaterThan(hour);
    await original.checkpoint({ directory });
    await original.remove();
    const restored = await Container.restore({ directory });
    const program = (await restored.processes()).find(({ pid }) => pid === 2)!;
    expect(namespacesOf(program.hostPid)).toEqual(namespacesOf(restored.pid!));
    expect(await namespacesInside(restored)).toEqual(namespacesOf(program.hostPid));
    // Time went on, but no hour passed and none was lost.
    const passed = (await uptime(restored)) - before;
    expect(passed).toBeGreaterThanOrEqual(0);
    expect(passed).toBeLessThan(600);
    await restored.remove({ force: true });
  });
}, 240_000);

test('it can be left running, and be restored beside itself, as often as one likes', async () => {
  await leavesNothing(async () => {
    const directory = join(place, 'checkpoint');
    const original = await startCounter({ init: false });
    await original.checkpoint({ directory, leaveRunning: true });
    expect(original.status).toBe('running');
    const copies = await Promise.all([Container.restore({ directory }), Container.restore({ directory })]);
    await copies[0]!.kill('SIGTERM');
    expect((await copies[0]!.wait()).exitCode).toBe(9);
    await copies[1]!.pause();
    expect(copies[1]!.status).toBe('paused');
    await copies[1]!.resume();
    await copies[1]!.kill();
    expect(await copies[1]!.wait()).toMatchObject({ signal: 'SIGKILL', exitCode: null });
    expect((await stopCounting(original)).exitCode).toBe(7);
    await Promise.all([original, ...copies].map((container) => container.remove()));
  });
}, 240_000);

test('another process restores it; killed, it leaves nothing of it, during the restore and after', async () => {
  using program = new NodeProgram('restorer');
  const directory = join(place, 'checkpoint');
  const original = await startCounter();
  await original.checkpoint({ directory });
  await original.remove();

  const other = program.start([directory]);
  let said = '';
  other.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const pids = () => /^init (\d+) restorer (\d+)$/m.exec(said)?.slice(1) ?? [];
  expect(await eventually(() => /^\d+\n\d+$/m.test(said), 60_000)).toBe(true);
  const alive = () => pids().filter((pid) => existsSync(`/proc/${pid}`));
  expect(alive()).toHaveLength(2);
  other.kill('SIGKILL');
  expect(await eventually(() => alive().length === 0, 20_000)).toBe(true);

  for (let round = 0; round < 2; round++) {
    const victim = program.start([directory]);
    expect(await eventually(() => restoring().length > 0, 60_000)).toBe(true);
    victim.kill('SIGKILL');
    expect(await eventually(() => restoring().length === 0, 20_000)).toBe(true);
  }
  expect(await Container.list()).toEqual([]);
}, 240_000);

/** Processes of this test's restores: CRIU itself, who called it, and what it made. */
function restoring(): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      return /^\d+$/.test(pid) && (/criu\0restore/.test(command) || command.includes('/tmp/counted'));
    } catch {
      return false;
    }
  });
}

test('a read-only root that lacks the places of its mounts has them when it is restored', async () => {
  await leavesNothing(async () => {
    const first = await startCounter({
      writable: 'none',
      mounts: [
        { type: 'tmpfs', target: '/tmp', options: ['mode=1777'] },
        { type: 'tmpfs', target: '/no/such/place', options: ['mode=1777'] },
      ],
    });
    await first.exec('touch', ['/no/such/place/file'], { check: true });
    const before = mounts(first);
    await first.checkpoint({ directory: join(place, 'one') });
    const counted = numbers((await first.wait()).stdout).at(-1)!;
    await first.remove();

    const second = await Container.restore({ directory: join(place, 'one') });
    expect(mounts(second)).toEqual(before);
    await output(second, new RegExp(`^${counted + 3}$`, 'm'));
    const { stdout } = await second.exec('sh', ['-c', 'ls /no/such/place; touch /no/such/other 2>&1']);
    expect(stdout).toMatch(/^file\n.*Read-only file system\n$/);
    expect((await stopCounting(second)).exitCode).toBe(7);
    await second.remove();
  });
}, 240_000);

test('what CRIU refuses goes on as before, with the reason in the error', async () => {
  const directory = join(place, 'checkpoint');
  await using locked = await Container.create({
    command: ['sh', '-c', 'exec 9>/tmp/lock; flock 9; echo locked; sleep 60 & wait'],
  });
  await locked.start();
  await output(locked, /locked/);
  const refusal = await locked.checkpoint({ directory }).catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(CheckpointError);
  expect(refusal).toMatchObject({
    code: 'ERR_NS_CHECKPOINT_FAILED',
    message: expect.stringMatching(/Error \(criu\/.*fileLocks: true/s),
    log: expect.stringContaining('Dumping FAILED'),
  });
  expect(readdirSync(directory)).toEqual([]);
  expect(locked.status).toBe('running');
  expect((await locked.exec('echo', ['alive'])).stdout).toBe('alive\n');
  await locked.checkpoint({ directory, fileLocks: true });
  await using again = await Container.restore({ directory });
  expect(await again.exec('flock', ['-n', '/tmp/lock', 'true'])).toMatchObject({ exitCode: 1 });
}, 240_000);

test('of a restore that fails nothing stays, and the error says why', async () => {
  const directory = join(place, 'checkpoint');
  const original = await startCounter();
  await original.checkpoint({ directory });
  await original.remove();
  rmSync(join(directory, 'images/core-2.img'));
  await leavesNothing(async () => {
    const failure = await Container.restore({ directory }).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: 'ERR_NS_RESTORE_FAILED',
      message: expect.stringMatching(/could not be restored:\n.*Error \(criu\//),
      log: expect.stringContaining('Restoring FAILED'),
    });
    expect(await Container.list()).toEqual([]);
  });
  expect(restoring()).toEqual([]);
}, 240_000);

const asRoot = needs(notRoot);

asRoot('what cannot be taken along is refused by name, before anything is done', async () => {
  await using container = await Container.create({ command: ['sleep', '60'], writable: { dir: join(place, 'kept') } });
  const directory = join(place, 'checkpoint');
  await expect(container.checkpoint({ directory })).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_NOT_RUNNING' });
  await container.start();
  await expect(container.checkpoint({ directory })).rejects.toMatchObject({
    code: 'ERR_NS_NOT_CHECKPOINTABLE',
    message: expect.stringContaining('writable'),
  });
  await expect(container.checkpoint({ directory: 'here' })).rejects.toMatchObject({ field: 'directory' });
  expect(existsSync(directory)).toBe(false);
  expect(container.status).toBe('running');
});

const withoutCriu = needs(notRoot ?? (unavailable === undefined ? 'CRIU works here' : undefined));

withoutCriu('where CRIU cannot do it, both calls say why and how', async () => {
  await using container = await Container.create({ command: ['sleep', '60'] });
  await container.start();
  const directory = join(place, 'checkpoint');
  const refusals = await Promise.all(
    [container.checkpoint({ directory }), Container.restore({ directory })].map((call) =>
      call.then(
        () => undefined,
        (error: unknown) => error,
      ),
    ),
  );
  expect(refusals[0]).toBeInstanceOf(UnavailableError);
  expect(refusals[0]).toMatchObject({ code: 'ERR_NS_UNAVAILABLE', hint: expect.any(String) });
  if (!criu!.ok) expect(refusals[1]).toMatchObject({ message: expect.stringContaining(criu!.why!) });
  expect(existsSync(directory)).toBe(false);
  expect(container.status).toBe('running');
});
