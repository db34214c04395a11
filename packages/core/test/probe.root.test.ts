import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { needs, notRoot } from '@ns/testing';
import { Container, type RunOptions, run } from '../src/index.ts';
import { type LaidBaits, layBaits } from './isolation-baits.ts';
import {
  anything,
  confined,
  inOwnCgroup,
  inUserNamespace,
  noCapabilities,
  withEveryCapability,
  withEverything,
  withoutFilter,
} from './isolation-expectations.ts';
import {
  type Expectations,
  type Observations,
  oneOf,
  probeCommand,
  unanswered,
  unexpected,
} from './isolation-probe.ts';

/* Some two hundred things that a hostile program looks at and tries, in each kind of sandbox. */

const probeTest = needs(notRoot ?? (existsSync('/usr/bin/python3') ? undefined : 'the probe needs python3'));

let baits: LaidBaits;

beforeAll(async () => {
  if (!notRoot) baits = await layBaits();
});
afterAll(() => baits?.[Symbol.dispose]());

/** What a sandbox must not change. */
const host = () => [hostname(), readFileSync('/proc/sys/kernel/domainname', 'utf8')];

/** Runs the probe. */
async function observe(options: RunOptions, probe: { all?: boolean } = {}): Promise<Observations> {
  const { stdout, stderr, exitCode } = await run(probeCommand({ baits, ...probe }), { hostname: 'probe', ...options });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  return JSON.parse(stdout);
}

function expectIsolation(seen: Observations, expectations: Expectations): void {
  expect(unexpected(seen, expectations)).toEqual([]);
  expect(unanswered(seen, confined)).toEqual([]);
  expect(Object.keys(seen).length).toBeGreaterThan(200);
}

probeTest('the default sandbox', async () => {
  expectIsolation(await observe({}), confined);
});

probeTest('the environment is exactly what was given', async () => {
  const { stdout } = await run('cat', ['/proc/self/environ'], { hostname: 'probe', env: { FOO: 'bar' } });
  expect(stdout.split('\0').filter(Boolean).sort()).toEqual([
    'FOO=bar',
    'HOME=/root',
    'HOSTNAME=probe',
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  ]);
});

probeTest('limits change nothing about what is isolated', async () => {
  expectIsolation(await observe({ limits: { memory: '512MiB', pids: 64 } }), [...inOwnCgroup, ...confined]);
});

probeTest('the strict profile allows less', async () => {
  expectIsolation(await observe({ seccomp: 'strict' }), [
    ['escape by chroot', 'EPERM'],
    [/^use a (block|character) device made in /, 'EPERM'],
    [/^TIOC|^packet socket$/, 'EPERM'],
    ...confined,
  ]);
});

probeTest('an ordinary user inside', async () => {
  const seen = await observe({ user: '12345:23456' });
  expect(
    unexpected(seen, [
      ['ids', [12345, 12345, 12345, 23456, 23456, 23456]],
      ['status Uid', '12345\t12345\t12345\t12345'],
      ['status Gid', '23456\t23456\t23456\t23456'],
      ['groups', [23456]],
      ['status Groups', '23456'],
      [/^status Cap(Eff|Prm)$/, noCapabilities],
      [/^signal pid 1|^(raw|packet) socket$/, 'EPERM'],
      [/^open \/proc\/1\/(fd|oom_score_adj)$/, 'EACCES'],
      [/^write to |^overwrite/, 'EACCES'],
      ['escape by chroot', 'EPERM'],
      [/^list \/(root|etc\/ssl\/private)$/, oneOf([], 'EACCES')],
      [/^(list|write) \/(proc|sys)\//, oneOf([], 'EROFS', 'EACCES', 'ENOENT', 'EISDIR')],
      [/^use a /, oneOf('EPERM', 'EACCES')],
      ['open /proc/self/exe for writing', 'EACCES'],
      [/^(euid|capabilities) of a /, anything],
      ...confined,
    ]),
  ).toEqual([]);
});

probeTest('a user namespace of its own: root inside is nobody outside', async () => {
  const seen = await observe({ idMap: 'auto' });
  expectIsolation(seen, [...inOwnCgroup, ...inUserNamespace, ...confined]);
  expect((seen.uid_map as string[])[1]).not.toBe('0');
});

probeTest('privileged is not the host either', async () => {
  const before = host();
  const seen = await observe({ privileged: true }, { all: false });
  expectIsolation(seen, [
    ['status NoNewPrivs', '0'],
    // Every device is there, nothing is masked or read-only, and privileges can be had.
    [/^exists \/dev\//, anything],
    ...nodesOfHost(),
    ['mount /sys', 'sysfs nodev noexec nosuid'],
    [/^(read|write|list|mount|writable in) \/(proc|sys)\b/, anything],
    [/^use a (block|character) device made in \/dev$/, anything],
    ['syscall: remount /proc/sys writable', 'EINVAL'],
    ['euid of a setuid program', '0'],
    ['capabilities of a program with file capabilities', '0000000000002000'],
    ...withEverything,
    ...confined,
  ]);
  expect(host()).toEqual(before);
});

probeTest('a command in a container that runs is what its first is', async () => {
  await using container = await Container.create({ command: ['sleep', '60'], hostname: 'probe' });
  await container.start();
  const { stdout, stderr } = await container.exec(probeCommand({ baits }));
  expect(stderr).toBe('');
  expectIsolation(JSON.parse(stdout), [
    ['processes', ['ns-init', 'sleep', 'python3']],
    ['programs of other processes', ['/usr/bin/sleep', 'EACCES']],
    // Beside the first one's, which is the root of the namespace.
    ['cgroup', (seen) => (seen as string[]).every((path) => /^\/(\.\.\/exec-\w+)?$/.test(path))],
    ['pid', 3],
    ['parent', 0],
    ...inOwnCgroup,
    ...confined,
  ]);
});

probeTest('without a filter the kernel still refuses', async () => {
  expectIsolation(await observe({ seccomp: 'unconfined' }), [...withoutFilter, ...confined]);
});

probeTest('every capability is still one container', async () => {
  const before = host();
  const seen = await observe({ capabilities: { add: ['ALL'] } }, { all: false });
  expectIsolation(seen, [...withEveryCapability, ...inOwnCgroup, ...confined]);
  expect(host()).toEqual(before);
});

probeTest('everything allowed, but in a user namespace, is nothing on the host', async () => {
  const before = host();
  const seen = await observe({ capabilities: { add: ['ALL'] }, seccomp: 'unconfined', idMap: 'auto' });
  expectIsolation(seen, [
    [/^status Cap(Prm|Eff|Bnd)$/, (seen) => /^0+1?[0-9a-f]*f{8}$/.test(String(seen))],
    ['number of a physical page', 'hidden'],
    ["syscall: find a key of the host's user", 'ENOKEY'],
    ['change what is audited', 'ECONNREFUSED'],
    // About the machine, or a process that was made outside of the namespace.
    [/^syscall: (swapo|move pages|seize|read|write|compare|take|fanotify|open_by_handle|userfaultfd|perf)/, anything],
    [/^use a |^open \/proc\/1\/(?!attr)/, oneOf('EPERM', 'EACCES')],
    ['programs of other processes', ['EACCES']],
    ['syscall: setns user', 'EINVAL'],
    ...withEverything,
    ...inOwnCgroup,
    ...inUserNamespace,
    ...confined,
  ]);
  expect(host()).toEqual(before);
});

/** Devices below /dev of this machine, besides those that every container has, as the probe tells of them. */
function nodesOfHost(): [string, string][] {
  const list = String.raw`find /dev -path /dev/pts -prune -o -name console -prune -o \( -type b -o -type c \) -printf '%p %y %m\n'`;
  return execFileSync('sh', ['-c', list], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .filter((line) => !/^\/dev\/(null|zero|full|random|urandom|tty|ptmx) /.test(line))
    .map((line) => {
      const [path = '', type, mode] = line.split(' ');
      const { rdev } = statSync(path);
      const [major, minor] = [Math.floor(rdev / 256) & 0xfff, (rdev & 0xff) | (Math.floor(rdev / 2 ** 12) & 0xfffff00)];
      return [`node ${path}`, `${type} ${major}:${minor} ${mode}`];
    });
}
