import { existsSync, readFileSync } from 'node:fs';
import { needs, notRoot } from '@ns/testing';
import { type RunOptions, run } from '../src/index.ts';
import {
  confined,
  type Expectations,
  inOwnCgroup,
  inUserNamespace,
  type Observations,
  oneOf,
  probeCommand,
  unanswered,
  unexpected,
} from './isolation-probe.ts';

/* Some two hundred things that a hostile program looks at and tries, in each kind of sandbox. */

const probeTest = needs(notRoot ?? (existsSync('/usr/bin/python3') ? undefined : 'the probe needs python3'));

/** Runs the probe. */
async function observe(options: RunOptions, mode: 'confined' | 'privileged' = 'confined'): Promise<Observations> {
  const { stdout, stderr, exitCode } = await run(probeCommand(mode), { hostname: 'probe', ...options });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  return JSON.parse(stdout);
}

function expectIsolation(seen: Observations, expectations: Expectations): void {
  expect(unexpected(seen, expectations)).toEqual([]);
  expect(unanswered(seen, confined)).toEqual([]);
  expect(Object.keys(seen).length).toBeGreaterThan(200);
}

probeTest(
  'the default sandbox',
  async () => {
    expectIsolation(await observe({}), confined);
  },
  30_000,
);

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
    [/^TIOCSTI /, 'EPERM'],
    ...confined,
  ]);
});

probeTest('an ordinary user inside', async () => {
  const seen = await observe({ user: '12345:23456' });
  const nothing = '0000000000000000';
  expect(
    unexpected(seen, [
      ['ids', [12345, 12345, 12345, 23456, 23456, 23456]],
      ['status Uid', '12345\t12345\t12345\t12345'],
      ['status Gid', '23456\t23456\t23456\t23456'],
      [/^status Cap(Eff|Prm)$/, nothing],
      [/^signal pid 1/, 'EPERM'],
      [/^open \/proc\/1\/(fd|oom_score_adj)$/, 'EACCES'],
      [/^write to |^overwrite/, 'EACCES'],
      ['escape by chroot', 'EPERM'],
      [/^list \/(root|etc\/ssl\/private)$/, oneOf([], 'EACCES')],
      [/^(list|write) \/(proc|sys)\//, oneOf([], 'EROFS', 'EACCES', 'ENOENT', 'EISDIR')],
      [/^use a /, oneOf('EPERM', 'EACCES')],
      ['open /proc/self/exe for writing', 'EACCES'],
      [/^(euid|capabilities) of a /, () => true],
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
  const seen = await observe({ privileged: true }, 'privileged');
  const bounding = /^CapBnd:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1];
  const wrong = unexpected(seen, [
    [/^status Cap(Prm|Eff|Bnd)$/, bounding],
    [/^status (NoNewPrivs|Seccomp|Seccomp_filters)$/, '0'],
    // Nothing is masked or read-only, and privileges can be had.
    [/^(read|write|list|mount) \/(proc|sys)\//, () => true],
    [/^open \/proc\/1\//, oneOf('ok', 'ETXTBSY', 'EACCES')],
    [/^use a (block|character) device made in \/dev$/, () => true],
    [/^mounts that may hold devices$/, () => true],
    ['mount /dev', 'tmpfs noexec nosuid'],
    // A sealed copy in memory: it cannot be overwritten (CVE-2019-5736).
    ['open /proc/1/exe', 'ETXTBSY'],
    ['programs of other processes', ['/memfd:ns-stage (deleted)']],
    ['euid of a setuid program', '0'],
    ['capabilities of a program with file capabilities', '0000000000002000'],
    [/^(raise|lower|real-time|trusted|gain|set an ambient)/, () => true],
    ...confined,
  ]);
  expect(wrong).toEqual([]);
});
