import { execFileSync } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { needs, notRoot } from '@ns/testing';
import { layBaits } from './isolation-baits.ts';
import { confined, inUserNamespace } from './isolation-expectations.ts';
import { type Observations, oneOf, probeCommand, unanswered, unexpected } from './isolation-probe.ts';
import { NodeProgram } from './node-program.ts';

/* The same library for an ordinary user: one with subordinate ids, and one with nothing but an own id. */

const rootlessTest = needs(notRoot ?? missingPrograms());
const name = `ns-test-${process.pid}`;
/** No entry in /etc/passwd or /etc/subuid has this id. */
const strangerId = 54_321;
const seen: Record<'withRanges' | 'alone', Observations> = { withRanges: {}, alone: {} };
let uid: number;

beforeAll(async () => {
  if (notRoot ?? missingPrograms()) return;
  using program = new NodeProgram('rootless');
  execFileSync('useradd', ['--no-create-home', '--shell', '/bin/sh', name], { stdio: 'ignore' });
  try {
    uid = Number(execFileSync('id', ['-u', name], { encoding: 'utf8' }));
    seen.withRanges = await observe(program, uid);
  } finally {
    execFileSync('userdel', [name], { stdio: 'ignore' });
  }
  seen.alone = await observe(program, strangerId);
}, 60_000);

for (const who of ['withRanges', 'alone'] as const) {
  const title = { withRanges: 'a user with subordinate ids', alone: 'a user with one id' }[who];
  const of = (check: string) => seen[who][check] as Record<string, unknown>;
  const told = (stdout: string) => ({ exitCode: 0, reason: 'exit', stdout, stderr: '' });

  describe(title, () => {
    rootlessTest('has no place to write to when he wants none', () => {
      expect(of('read-only root')).toMatchObject({ stdout: '', exitCode: 2 });
      expect(String(of('read-only root').stderr).match(/Read-only file system/g)).toHaveLength(2);
    });

    rootlessTest('owns inside what is his outside', () => {
      expect(of('an overlay of a directory of his own')).toEqual({ stdout: '0:0\n0:0\n', exitCode: 0 });
    });

    rootlessTest('sees what his container changed, and is told what would help where something does not work', () => {
      expect(of('what it changed')).toContain('added /srv/made');
      expect(of('advice of probe()')).toEqual([]);
    });

    rootlessTest('is root inside', () => {
      expect(of('id')).toEqual(told('0\n0'));
      expect(of('single id').exitCode).toBe(0);
      expect(of('own files')).toEqual(told('2'));
      expect(of('hostname')).toEqual(told('rootless'));
      expect(of('processes').stdout).toBe('2');
      expect(of('network')).toEqual(told('lo'));
      expect(of('devices')).toEqual(told('3'));
      expect(of('sysctl')).toEqual(told('1'));
    });

    rootlessTest('gains nothing over the host', () => {
      const { stdout, stderr } = of('files of the host are not his');
      expect({ stdout, denied: String(stderr).match(/denied|Read-only/g)?.length }).toEqual({ stdout: '', denied: 2 });
      expect(of('ids of others')).toMatchObject({
        typed: true,
        error: 'ERR_NS_CONTAINER_START',
        hint: expect.stringContaining('/etc/subuid'),
      });
    });

    rootlessTest('has file systems of all kinds', () => {
      expect(of('overlay of a directory')).toEqual({ stdout: 'changed\n', onDisk: false });
      expect(of('a directory itself')).toEqual({ exitCode: 0, onDisk: true });
      expect(of('bind')).toMatchObject({ exitCode: 1, stdout: 'x', stderr: expect.stringContaining('Read-only') });
      expect(of('writable bind')).toEqual({ ...told('0'), content: 'from inside\n' });
    });

    rootlessTest('copies, exports, commits and mounts while it runs', () => {
      expect(seen[who]['volume of an image of two layers']).toBe('of the top');
      expect(of('files')).toEqual({
        inside: 'from the host 0\n',
        out: 'made\n',
        exported: [true, true],
        changes: expect.arrayContaining(['added /fresh', 'added /srv/in']),
        again: 'made\n0\n',
      });
      expect(of('mounts while it runs')).toEqual({
        seen: expect.stringMatching(/^of the hosthunter2 ok\n.*Read-only/),
        restored: true,
      });
    });

    rootlessTest('forks', () => {
      const another = who === 'alone' ? '0:0' : '7:8';
      const seenInside = `made
/made 0:0 0 2 1000000000
one file
no file
new
${another} 700
file
fifo
symbolic link
sparse
`;
      expect(of('forks')).toEqual({
        first: { exitCode: 0, stderr: '' },
        outputs: [seenInside, seenInside, seenInside],
        changes: expect.arrayContaining([
          'added /made',
          'added /linked',
          'deleted /deleted',
          'deleted /replaced/below',
        ]),
        third: 'changed\n',
      });
      expect(of('forks of the host')).toEqual({
        whileRunning: expect.stringMatching(/^ERR_NS_CONTAINER_RUNNING: Stop or pause/),
        stdout: 'kept\nkept\n',
        full: {
          code: 'ERR_NS_FORK',
          message: expect.stringContaining('No space left on device'),
          hint: expect.stringContaining('writable: { size }'),
        },
        // With one id those he has without saying are the same.
        ids: who === 'alone' ? 'made' : expect.stringMatching(/^ERR_NS_UNAVAILABLE: .*commit\(\)/),
      });
    });

    rootlessTest('has the security modules', () => {
      expect(of('seccomp')).toMatchObject({
        stdout: 'NoNewPrivs: 1\nSeccomp: 2',
        stderr: expect.stringContaining('not permitted'),
      });
      expect(of('strict')).toEqual(told('fine'));
      expect(of('landlock').stderr).toMatch(/passwd: Permission denied|Landlock/);
      expect(of('onSyscall').stderr).toContain('Read-only file system');
    });

    rootlessTest('runs, waits and talks', () => {
      expect(of('timeout').reason).toBe('timeout');
      expect(of('not found')).toBe(127);
      expect(of('stdin')).toBe('to the container');
      expect(of('pool')).toEqual(['1', '2', '3']);
      expect(of('container')).toEqual({
        stdout: 'kept\n0\n',
        status: 'stopped',
        names: [
          ['ns-init', 'root'],
          ['sleep', 'root'],
        ],
        listed: [['rootless', 'running']],
      });
      expect(of('left')).toEqual([]);
    });

    rootlessTest('sees the processes of its commands, without a cgroup to find them by', () => {
      expect(of('processes of a command')).toEqual({ during: ['sh', 'sleep'], back: true });
    });

    rootlessTest('leaves nothing behind that a command has started, without a cgroup to find it by', () => {
      expect(of('what a command leaves behind')).toEqual({
        ended: 5,
        timedOut: ['timeout', 'SIGKILL'],
        killed: 'SIGKILL',
        stopped: 9,
        left: [],
        first: 2,
      });
    });

    rootlessTest('is told what cannot work, and what would make it work', () => {
      expect(of('limits')).toMatchObject({ typed: true, hint: expect.stringContaining('delegate') });
      expect(of('an OOM score below his own')).toMatchObject({
        error: 'ERR_NS_CONTAINER_START',
        hint: expect.stringContaining('CAP_SYS_RESOURCE'),
      });
      expect(of('a size on disk')).toMatchObject({
        typed: true,
        error: 'ERR_NS_UNAVAILABLE',
        hint: expect.stringContaining('{ size }'),
      });
      expect(of('pause')).toMatchObject({
        typed: true,
        error: 'ERR_NS_UNAVAILABLE',
        hint: expect.stringContaining('Delegate=yes'),
      });
    });

    rootlessTest('is isolated as a sandbox of root is', () => {
      const probe = seen[who].probe as Observations;
      const own = who === 'alone' ? withoutSetgroups : [];
      expect(unexpected(probe, [...own, ...rootless, ...inUserNamespace, ...confined])).toEqual([]);
      expect(unanswered(probe, confined)).toEqual([]);
    });
  });
}

rootlessTest('with ranges there are other users inside', () => {
  expect(seen.withRanges.uid_map).toMatchObject({ stdout: expect.stringMatching(/^0 +\d+ +1\n +1 +\d+ +65536$/) });
  expect(seen.withRanges['another user']).toMatchObject({ stdout: '1\n1' });
  expect(seen.withRanges['another user at a terminal']).toMatchObject({ stdout: '1' });
  expect(seen.withRanges['a command of another user']).toBe('nobody\r\n/nonexistent\r\n');
});

rootlessTest('without ranges there are none, which is said', () => {
  expect(seen.alone.uid_map).toMatchObject({ stdout: expect.stringMatching(new RegExp(`^0 +${strangerId} +1$`)) });
  for (const one of ['another user', 'another user at a terminal', 'a command of another user'])
    expect(seen.alone[one]).toMatchObject({ typed: true, hint: expect.stringContaining('id map') });
});

/** He keeps the groups he had: none. */
const withoutSetgroups = [
  ['setgroups', 'deny'],
  ['groups', []],
  ['status Groups', ''],
] as const;

const rootless = [
  ['setgroups', oneOf('allow', 'deny')],
  // With one id there is nobody to become.
  [
    /^(euid|capabilities) of a program|^euid of a setuid/,
    oneOf('65534', '0000000000000000', 'Exception occurred in preexec_fn.'),
  ],
] as const;

async function observe(program: NodeProgram, id: number): Promise<Observations> {
  using baits = await layBaits();
  const scratch = mkdtempSync(join(tmpdir(), 'core-rootless-'));
  try {
    const bin = join(scratch, 'root/bin');
    mkdirSync(bin, { recursive: true });
    copyFileSync('/bin/busybox', join(bin, 'busybox'));
    chmodSync(join(bin, 'busybox'), 0o755);
    writeFileSync(join(scratch, 'x'), 'x\n');
    for (const path of ['', 'x', 'root', 'root/bin', 'root/bin/busybox']) chownSync(join(scratch, path), id, id);
    const { stdout, stderr, exitCode } = await program.run([scratch, JSON.stringify(probeCommand({ baits }))], {
      uid: id,
      gid: id,
      env: { NS_STATE_ROOT: join(scratch, 'state') },
    });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    return JSON.parse(stdout);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function missingPrograms(): string | undefined {
  const absent = ['/usr/bin/newuidmap', '/usr/bin/python3', '/bin/busybox', '/usr/sbin/useradd'].filter(
    (path) => !existsSync(path),
  );
  if (absent.length > 0) return `not installed: ${absent.join(', ')}`;
  try {
    accessSync(process.execPath, constants.X_OK);
  } catch {
    return 'other users cannot run this Node.js';
  }
  return undefined;
}
