import { existsSync, readlinkSync } from 'node:fs';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { Cgroup } from '@ns/cgroups';
import { eventually, needs, notRoot, processesInNamespace } from '@ns/testing';
import { Container, ProcessFailedError, type RunOptions, run } from '../src/index.ts';
import { cgroupDirectories, remaining, useOwnStateRoot } from './leaves-nothing.ts';

/* What a run of one command means: how it ends, what it gives, what it takes. */

const rootTest = needs(notRoot);
useOwnStateRoot();
const sh = (script: string, options: Parameters<typeof run>[1] = {}) => run('sh', ['-c', script], options as object);

describe('how it ends', () => {
  rootTest('with an exit code', async () => {
    for (const code of [0, 1, 42, 126, 127, 137, 255]) {
      expect(await sh(`exit ${code}`)).toMatchObject({ exitCode: code, signal: null, reason: 'exit' });
    }
  });

  rootTest('by a signal', async () => {
    for (const signal of ['SIGKILL', 'SIGTERM', 'SIGSEGV', 'SIGUSR1', 'SIGPIPE'] as const) {
      expect(await sh(`kill -${signal.slice(3)} $$`)).toMatchObject({ exitCode: null, signal, reason: 'signal' });
    }
  });

  rootTest('by a signal of ours, which reaches the command through pid 1', async () => {
    const trapped = sh('trap "echo got it; exit 7" USR2; echo ready; while :; do sleep 0.01; done');
    trapped.stdout.once('data', () => trapped.kill('SIGUSR2'));
    expect(await trapped).toMatchObject({ exitCode: 7, stdout: 'ready\ngot it\n' });
    const sleeper = run('sleep', ['60']);
    await sleeper.started;
    expect(sleeper.kill()).toBe(true);
    expect(await sleeper).toMatchObject({ signal: 'SIGTERM', reason: 'signal' });
    expect(sleeper.kill()).toBe(false);
  });

  rootTest('without init the command is pid 1 itself', async () => {
    expect((await sh('echo $$', { init: false })).stdout).toBe('1\n');
    expect((await sh('echo $$')).stdout).toBe('2\n');
    expect(await sh('exit 9', { init: false })).toMatchObject({ exitCode: 9 });
  });

  rootTest('orphans end with it, and zombies are reaped meanwhile', async () => {
    const process = sh(
      '(setsid sleep 1000 &) ; (sh -c "exit 3" &) ; sleep 0.1; while grep -q "^State:.Z" /proc/[0-9]*/status; do sleep 0.01; done; readlink /proc/self/ns/pid',
    );
    const { stdout } = await process;
    expect(processesInNamespace('pid', stdout.trim())).toEqual([]);
  });

  rootTest('by the time limit, which the kernel keeps', async () => {
    const process = sh('trap "" TERM; sleep 60', { timeout: 300 });
    await process.started;
    // This thread does nothing else until then: it ends all the same.
    const goesOn = () => existsSync(`/proc/${process.pid}`);
    for (const end = performance.now() + 10_000; goesOn() && performance.now() < end; );
    expect(goesOn()).toBe(false);
    expect(await process).toMatchObject({ reason: 'timeout', exitCode: null });
    expect(await run('true', { timeout: 60_000 })).toMatchObject({ reason: 'exit' });
  });

  rootTest('by its memory limit', async () => {
    const result = await run('tail', ['/dev/zero'], { limits: { memory: '24MiB', memorySwap: '24MiB' } });
    expect(result).toMatchObject({ reason: 'oom', signal: 'SIGKILL' });
    expect(result.usage.memoryPeakBytes).toBeGreaterThan(16 * 2 ** 20);
  });

  rootTest('not by its memory limit, though it looks like it', async () => {
    const limits = { memory: '64MiB' };
    expect(await sh('exit 137', { limits })).toMatchObject({ reason: 'exit', exitCode: 137 });
    expect(await sh('kill -9 $$', { limits })).toMatchObject({ reason: 'signal', signal: 'SIGKILL' });
    // A child ran out of memory, and the command got over it.
    expect(
      await sh('tail /dev/zero; echo survived', { limits: { memory: '24MiB', memorySwap: '24MiB' } }),
    ).toMatchObject({
      reason: 'exit',
      exitCode: 0,
      stdout: 'survived\n',
    });
  });

  for (const [end, command, options, hint] of [
    ['an exit code', 'exit 3', {}, /output/],
    ['a missing command', 'no-such-command', {}, /PATH/],
    ['too little time', 'sleep 60', { timeout: 50 }, /timeout/],
    [
      'too little memory',
      'head -c 64m /dev/zero | tail',
      { limits: { memory: '8MiB', memorySwap: '8MiB' } },
      /limits\.memory/,
    ],
    ['too much output', 'yes', { maxOutput: { bytes: '1KiB', onExceed: 'kill' } }, /maxOutput\.bytes/],
    ['a seccomp filter', 'kill -SYS $$', {}, /seccomp/],
    ['a signal to a process of it', "sh -c 'kill -SEGV $$'; exit $?", {}, /SIGSEGV/],
    ['an abort', 'true', { signal: AbortSignal.abort() }, /signal/],
  ] satisfies [string, string, RunOptions, RegExp][]) {
    rootTest(`with check, the hint says what to do about ${end}`, async () => {
      await expect(sh(command, { ...options, check: true })).rejects.toMatchObject({
        code: 'ERR_NS_PROCESS_FAILED',
        hint: expect.stringMatching(hint),
      });
    });
  }

  rootTest('with check, anything but success is thrown, with all fields of the result', async () => {
    const error = await sh('echo out; echo err >&2; exit 3', { check: true }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ProcessFailedError);
    expect(error).toMatchObject({
      code: 'ERR_NS_PROCESS_FAILED',
      exitCode: 3,
      reason: 'exit',
      stdout: 'out\n',
      stderr: 'err\n',
      truncated: false,
    });
    expect((error as ProcessFailedError).message).toMatch(/sh exited with code 3:\nerr/);
    expect(Object.keys((error as ProcessFailedError).usage)).toContain('cpuUserMs');
    await expect(run('sleep', ['60'], { check: true, timeout: 100 })).rejects.toMatchObject({ reason: 'timeout' });
    await expect(sh('exit 0', { check: true })).resolves.toMatchObject({ exitCode: 0 });
  });
});

describe('what it reads', () => {
  rootTest('nothing, text, bytes, a stream', async () => {
    const bytes = Buffer.from([0, 255, 10, 128]);
    expect((await run('cat')).stdout).toBe('');
    expect((await run('cat', { stdin: 'null' })).stdout).toBe('');
    expect((await run('cat', { stdin: 'text ü' })).stdout).toBe('text ü');
    expect((await run('cat', [], { stdin: bytes, encoding: 'buffer' })).stdout).toEqual(bytes);
    expect((await run('cat', { stdin: Readable.from(['a', 'b', 'c']) })).stdout).toBe('abc');
    expect((await run('readlink', ['/proc/self/fd/0'], { stdin: 'null' })).stdout).toBe('/dev/null\n');
  });

  rootTest('what is written to it, now or later', async () => {
    const now = run('cat');
    now.stdin.end('now');
    expect((await now).stdout).toBe('now');
    const later = run('cat', { stdin: 'pipe' });
    await delay(20);
    later.stdin.write('la');
    later.stdin.end('ter');
    expect((await later).stdout).toBe('later');
  });

  rootTest('a command that does not read all of it is no error', async () => {
    const result = await run('head', ['-c', '1'], { stdin: Buffer.alloc(2 ** 22, 'x') });
    expect(result).toMatchObject({ exitCode: 0, stdout: 'x' });
  });
});

describe('what it writes', () => {
  rootTest('both streams, apart; text or bytes', async () => {
    expect(await sh('echo out; echo err >&2')).toMatchObject({ stdout: 'out\n', stderr: 'err\n', truncated: false });
    const { stdout } = await run('printf', ['\\377\\000ok'], { encoding: 'buffer' });
    expect([...stdout]).toEqual([255, 0, 111, 107]);
    expect((await sh('echo unkept', { buffer: false })).stdout).toBe('');
  });

  rootTest('as it comes, in order, and the result after it', async () => {
    // Each line when the one before has come.
    const process = sh('for i in 1 2 3; do echo $i; read -r _; done; echo end >&2', { stdin: 'pipe' });
    const chunks: string[] = [];
    for await (const { fd, data } of process) {
      chunks.push(`${fd}${data}`);
      if (fd === 1) process.stdin.write('\n');
    }
    expect(chunks).toEqual(['11\n', '12\n', '13\n', '2end\n']);
    expect((await process).stdout).toBe('1\n2\n3\n');
    await expect(async () => {
      for await (const _ of process);
    }).rejects.toThrow('once');
  });

  rootTest('no faster than it is read', async () => {
    const process = sh('yes | head -c 20000000; echo "last" >&2', { buffer: false });
    let bytes = 0;
    let waited = false;
    for await (const { fd, data } of process) {
      if (fd === 2) continue;
      bytes += data.length;
      if (!waited && bytes > 100_000) {
        waited = true;
        await delay(200);
        // The pipe and a megabyte of ours hold what is not read; the command waits.
        expect(process.stdout.readableLength).toBeLessThan(2 ** 21);
      }
    }
    expect(bytes).toBe(20_000_000);
  });

  rootTest('through streams that anything can be piped to', async () => {
    const process = sh('printf "a\\nb\\n"; printf c');
    const text: string[] = [];
    process.stdout.setEncoding('utf8').on('data', (chunk: string) => text.push(chunk));
    await process;
    expect(text.join('')).toBe('a\nb\nc');
  });

  rootTest('100 MB arrive whole', async () => {
    const { stdout } = await run('head', ['-c', '100000000', '/dev/zero'], {
      encoding: 'buffer',
      maxOutput: { bytes: '128MiB' },
    });
    expect(stdout.length).toBe(100_000_000);
  });

  for (const [onExceed, expected] of [
    ['drop-tail', { stdout: '1\n2\n3\n4\n5\n', truncated: true, reason: 'exit', exitCode: 0 }],
    ['drop-head', { stdout: '5\n96\n97\n98\n99\n100\n'.slice(-10), truncated: true, reason: 'exit', exitCode: 0 }],
    ['kill', { stdout: '1\n2\n3\n4\n5\n', truncated: true, reason: 'output-limit', exitCode: null }],
  ] as const) {
    rootTest(`no more than allowed: ${onExceed}`, async () => {
      const tail = onExceed === 'kill' ? '; sleep 60' : '';
      expect(await sh(`seq 100${tail}`, { maxOutput: { bytes: 10, onExceed } })).toMatchObject(expected);
    });
  }

  rootTest('the limit is of both streams together; exactly at it nothing is lost', async () => {
    // The second when the first has come.
    const inTurn = (second: string) => {
      const script = `printf 12345; read -r _; printf ${second} >&2`;
      const process = sh(script, { stdin: 'pipe', maxOutput: { bytes: 10 } });
      process.stdout.once('data', () => process.stdin.end('\n'));
      return process;
    };
    const { stdout, stderr, truncated } = await inTurn('67890');
    expect({ stdout, stderr, truncated }).toEqual({ stdout: '12345', stderr: '67890', truncated: false });
    expect(await inTurn('678901')).toMatchObject({ stdout: '12345', stderr: '67890', truncated: true });
    expect(await sh('printf "ü"', { maxOutput: { bytes: 1 } })).toMatchObject({ stdout: '', truncated: true });
  });
});

describe('what it used', () => {
  /** Whether this kernel keeps the peak: the file of v2, or v1's. */
  const kept = { memory: false, pids: false };
  beforeAll(async () => {
    if (notRoot) return;
    await using cg = await Cgroup.create(`peaks-${process.pid}`, { memory: { max: '64MiB' }, pids: { max: 9 } });
    const isThere = (path: string | undefined, files: readonly string[]) =>
      files.some((file) => existsSync(`${path}/${file}`));
    kept.memory = isThere(cg.pathOf('memory'), ['memory.peak', 'memory.max_usage_in_bytes']);
    kept.pids = isThere(cg.pathOf('pids'), ['pids.peak']);
  });

  rootTest('is measured, or undefined', async () => {
    const plain = await sh('i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done');
    expect(plain.usage.cpuUserMs).toBeGreaterThan(1);
    expect(plain.usage.memoryPeakBytes).toBeGreaterThan(2 ** 18);
    expect(plain.usage.pidsPeak).toBeUndefined();
    const fork = 'for i in 1 2 3 4; do sleep 60 & all="$all $!"; done; sleep 0.05; kill $all';
    const limited = await sh(fork, { limits: { memory: '64MiB', pids: 32 } });
    expect(limited.usage.memoryPeakBytes).toBeLessThan(64 * 2 ** 20);
    if (kept.pids) expect(limited.usage.pidsPeak).toBeGreaterThanOrEqual(5);
    else expect(limited.usage.pidsPeak).toBeUndefined();
    expect(limited.durationMs).toBeGreaterThan(40);
  });

  rootTest("is each command's own", async () => {
    await using container = await Container.create({
      command: ['sleep', '60'],
      limits: { memory: '128MiB', pids: 32 },
    });
    await container.start();
    const eat = 'dd if=/dev/zero of=/dev/null bs=32M count=1 2>/dev/null';
    const [small, large] = await Promise.all([
      container.exec('sh', ['-c', 'sleep 0.05']),
      container.exec('sh', ['-c', `${eat}; for i in 1 2 3 4 5 6 7; do sleep 60 & all="$all $!"; done; kill $all`]),
    ]);
    if (kept.memory) {
      expect(large.usage.memoryPeakBytes).toBeGreaterThan(32 * 2 ** 20);
      expect(small.usage.memoryPeakBytes).toBeLessThan(16 * 2 ** 20);
    }
    if (kept.pids) {
      expect(large.usage.pidsPeak).toBeGreaterThanOrEqual(8);
      expect(small.usage.pidsPeak).toBeLessThan(8);
    }
  });
});

describe('what it is', () => {
  rootTest('an environment, a directory, a user, a name', async () => {
    expect((await run('pwd', { cwd: '/made/for it' })).stdout).toBe('/made/for it\n');
    expect((await run('id', { user: 'nobody' })).stdout).toMatch(
      /^uid=65534\(nobody\) gid=65534\(nogroup\) groups=65534\(nogroup\)/,
    );
    expect((await run('id', { user: '1234:5678', groups: [7, 8] })).stdout).toBe(
      'uid=1234 gid=5678 groups=5678,7(lp),8(mail)\n',
    );
    // A set-group-ID program does not leave the group that it was started with: CVE-2022-36109.
    const groups = async (options: RunOptions) => (await sh('grep ^Groups: /proc/self/status', options)).stdout.trim();
    expect(await groups({})).toBe('Groups:\t0');
    expect(await groups({ user: '1234:5678' })).toBe('Groups:\t5678');
    expect(await groups({ user: '1234:5678', groups: [7] })).toMatch(/^Groups:\t7 5678$/);
    expect((await run('hostname', { hostname: 'sandbox' })).stdout).toBe('sandbox\n');
    expect((await sh('umask', { umask: 0o077 })).stdout).toBe('0077\n');
    expect((await sh('ulimit -n; ulimit -Hn', { rlimits: { nofile: { soft: 64, hard: 128 } } })).stdout).toBe(
      '64\n128\n',
    );
    expect((await sh('df -B1 /dev/shm | tail -1', { shmSize: '1MiB' })).stdout).toMatch(/ 1048576 /);
    expect((await sh('cat /proc/self/oom_score_adj', { oomScoreAdj: 500 })).stdout).toBe('500\n');
    expect((await run('printenv', ['PATH', 'HOME', 'X'], { env: { PATH: '/usr/bin:/bin', X: 'a b' } })).stdout).toBe(
      '/usr/bin:/bin\n/root\na b\n',
    );
    expect((await run(['echo', '$HOME', '*'])).stdout).toBe('$HOME *\n');
  });

  rootTest('a program is found in the PATH it is given', async () => {
    expect(await run('id', { env: { PATH: '/nowhere' } })).toMatchObject({ exitCode: 127 });
    expect(await run('id', { env: { PATH: '/nowhere:/usr/bin' } })).toMatchObject({ exitCode: 0 });
  });

  rootTest('limits hold', async () => {
    const bomb = await sh('for i in $(seq 50); do sleep 60 & done; wait', { limits: { pids: 16 } });
    expect(bomb.stderr).toMatch(/fork/i);
    expect((await sh('dd if=/dev/zero of=/big bs=1M count=20 2>&1', { writable: { tmpfs: '8MiB' } })).stdout).toContain(
      'No space left',
    );
  });

  rootTest('gone when it settles, cgroup and all', async () => {
    const process = run('cat', { stdin: 'pipe', limits: { memory: '64MiB' } });
    await process.started;
    const directories = cgroupDirectories(process.pid!);
    const namespace = readlinkSync(`/proc/${process.pid}/ns/pid`);
    expect(directories.length).toBeGreaterThan(0);
    process.stdin.end();
    await process;
    expect(remaining(directories)).toEqual([]);
    expect(processesInNamespace('pid', namespace)).toEqual([]);
  });

  rootTest('one in many at once', async () => {
    const results = await Promise.all(Array.from({ length: 40 }, (_, i) => sh(`echo ${i}; exit ${i}`)));
    expect(results.map(({ stdout, exitCode }) => [stdout, exitCode])).toEqual(results.map((_, i) => [`${i}\n`, i]));
    expect(await eventually(() => true)).toBe(true);
  });
});
