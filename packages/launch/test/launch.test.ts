import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pipe, SpecError, type SyscallError } from '@ns/libc';
import { eventually, kernelState, leftSince, processEntries, processes } from '@ns/testing';
import { endZygote, type Launched, launch, PreparedProgram, type Step } from '../src/index.ts';
import { monitoredPlan, plainPlan, program } from './plans.ts';
import { outcome, run } from './run.ts';

/* Programs without a container: no step here needs privileges. */

test('a command and its output', async () => {
  const { stdout, stderr, exit } = await run({ steps: plainPlan(['sh', '-c', 'echo out; echo err >&2; exit 3']) });
  expect({ stdout, stderr }).toEqual({ stdout: 'out\n', stderr: 'err\n' });
  expect(exit).toMatchObject({ exitCode: 3, signal: null, timedOut: false, failure: undefined });
});

test.each([
  ['plain', plainPlan],
  ['monitored', monitoredPlan],
])('%s: pids, promises and usage', async (kind, plan) => {
  const launched = launch({ steps: plan(['sh', '-c', 'echo $$; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done']) });
  const pid = await launched.started;
  expect(launched.pid).toBe(pid);
  expect(pid === launched.monitorPid).toBe(kind === 'plain');
  await launched.executed;
  const { stdout, exit } = await outcome(launched);
  expect(Number(stdout)).toBe(pid);
  expect(exit.exitCode).toBe(0);
  expect(exit.usage!.cpuUserMs + exit.usage!.cpuSystemMs).toBeGreaterThan(1);
  expect(exit.usage!.maxResidentBytes).toBeGreaterThan(500_000);
  expect(() => process.kill(pid, 0)).toThrow('ESRCH');
});

test('a signal ends it: name, no exit code', async () => {
  for (const plan of [plainPlan, monitoredPlan]) {
    const { exit } = await run({ steps: plan(['sh', '-c', 'kill -TERM $$']) });
    expect(exit).toMatchObject({ exitCode: null, signal: 'SIGTERM' });
  }
});

test('a signal that has no name is told by its number', async () => {
  const { exit } = await run({ steps: monitoredPlan(['sh', '-c', 'kill -s 42 $$']) });
  expect(exit).toMatchObject({ exitCode: null, signal: 'SIG42' });
});

test.each([
  ['plain', plainPlan],
  ['monitored', monitoredPlan],
])('%s: kill() is SIGKILL, and afterwards there is nobody to signal', async (_, plan) => {
  const launched = launch({ steps: plan(['sleep', '60']) });
  await launched.started;
  expect(launched.kill()).toBe(true);
  const { exit } = await outcome(launched);
  expect(exit).toMatchObject({ exitCode: null, signal: 'SIGKILL', timedOut: false });
  expect(launched.kill()).toBe(false);
  expect(launched.signal('SIGTERM')).toBe(false);
  launched.go();
});

test('kill() right after launch(), before anything ran', async () => {
  for (const plan of [plainPlan, monitoredPlan]) {
    const launched = launch({ steps: plan(['sleep', '60']) });
    launched.kill();
    expect((await outcome(launched)).exit.signal).toBe('SIGKILL');
  }
});

test.each(['SIGTERM', 'SIGUSR1', 'SIGHUP', 'SIGINT', 'SIGALRM', 'SIGPIPE', 'SIGWINCH'] as const)(
  '%s reaches the program',
  async (signal) => {
    const script = `trap 'echo got; exit 7' ${signal.slice(3)}; echo ready; while :; do sleep 0.01; done`;
    const launched = launch({ steps: monitoredPlan(['sh', '-c', script], { timeoutMs: 20_000 }) });
    launched.stdout!.once('data', () => launched.signal(signal));
    const { stdout, exit } = await outcome(launched);
    expect(stdout).toBe('ready\ngot\n');
    expect(exit).toMatchObject({ exitCode: 7, timedOut: false });
  },
);

test('SIGSTOP stops the program, not its monitor: the timeout still comes', async () => {
  const stopped = (timeoutMs: number) => {
    const launched = launch({ steps: monitoredPlan(['sh', '-c', 'echo ready; exec sleep 60'], { timeoutMs }) });
    launched.stdout!.once('data', () => launched.signal('SIGSTOP'));
    return launched;
  };
  const looked = stopped(60_000);
  const states = () => processEntries().filter(({ pid }) => [looked.monitorPid, looked.pid].includes(pid));
  expect(
    await eventually(
      () =>
        states()
          .map(({ state }) => state)
          .sort()
          .join() === 'S,T',
    ),
  ).toBe(true);
  expect(states().find(({ state }) => state === 'T')!.pid).toBe(looked.pid);
  looked.kill();
  expect((await outcome(looked)).exit).toMatchObject({ signal: 'SIGKILL', timedOut: false });
  expect((await outcome(stopped(400))).exit).toMatchObject({ signal: 'SIGKILL', timedOut: true });
});

test('a timeout ends it and says so; fractions of milliseconds are a time too', async () => {
  for (const timeoutMs of [50, 999.9999 / 20, 0]) {
    const { exit } = await run({ steps: monitoredPlan(['sleep', '600'], { timeoutMs }) });
    expect(exit).toMatchObject({ exitCode: null, signal: 'SIGKILL', timedOut: true, failure: undefined });
  }
  // Rounded to microseconds this is a whole minute, which setitimer takes only as such.
  const { exit } = await run({ steps: monitoredPlan(['true'], { timeoutMs: 59_999.9999 }) });
  expect(exit).toMatchObject({ exitCode: 0, timedOut: false });
});

test('a parked program waits for go()', async () => {
  const launched = launch({ steps: monitoredPlan(['echo', 'on'], { before: [{ op: 'park' }] }) });
  await launched.ready;
  let ended = false;
  void launched.exited.then(() => (ended = true));
  await delay(50);
  expect(ended).toBe(false);
  launched.go();
  expect((await outcome(launched)).stdout).toBe('on\n');
});

test('the time of a parked program begins when it may go on', async () => {
  const launched = launch({
    steps: monitoredPlan(['sleep', '600'], { timeoutMs: 200, before: [{ op: 'park' }] }),
  });
  await launched.ready;
  await delay(300);
  const begin = performance.now();
  launched.go();
  expect((await outcome(launched)).exit).toMatchObject({ signal: 'SIGKILL', timedOut: true });
  expect(performance.now() - begin).toBeGreaterThan(190);
});

test('a parked program can be ended', async () => {
  const launched = launch({ steps: monitoredPlan(['echo', 'on'], { before: [{ op: 'park' }] }) });
  await launched.ready;
  launched.kill();
  const { stdout, exit } = await outcome(launched);
  expect({ stdout, signal: exit.signal }).toEqual({ stdout: '', signal: 'SIGKILL' });
});

const parked = () => launch({ steps: monitoredPlan(['echo', 'never'], { before: [{ op: 'receiveSteps' }] }) });

test('a parked program can be told what to do', async () => {
  const launched = parked();
  await launched.ready;
  launched.continueWith(program(['echo', 'told']));
  expect((await outcome(launched)).stdout).toBe('told\n');

  const prepared = parked();
  await prepared.ready;
  prepared.prepareToContinue();
  prepared.continueWith(new PreparedProgram(program(['echo', 'told before'])));
  expect((await outcome(prepared)).stdout).toBe('told before\n');

  const named = new PreparedProgram(program(['echo', 'id-0001', 'x'.repeat(5000)]), { variables: ['id-0001'] });
  for (const id of ['id-0002', 'id-0003']) {
    const one = parked();
    await one.ready;
    expect(() => one.continueWith(named, ['id-00004'])).toThrow('texts as long as those it was prepared with');
    one.continueWith(named, [id]);
    expect((await outcome(one)).stdout).toBe(`${id} ${'x'.repeat(5000)}\n`);
  }

  const otherwise = parked();
  await otherwise.ready;
  const another = new PreparedProgram(program(['true']), { extraFds: 1 });
  expect(() => otherwise.continueWith(another)).toThrow('a program prepared for the descriptors of the launch');
  otherwise.kill();
  await outcome(otherwise);

  const failing = parked();
  await failing.ready;
  failing.continueWith([
    { op: 'umask', mask: 0 },
    { op: 'workingDirectory', path: '/no/such/place', create: false },
  ]);
  const { exit } = await outcome(failing);
  expect(exit.failure).toMatchObject({
    code: 'ENOENT',
    syscall: 'chdir',
    step: { number: 2, of: 2, op: 'workingDirectory' },
  });

  const ended = parked();
  await ended.ready;
  ended.kill();
  expect((await outcome(ended)).exit.signal).toBe('SIGKILL');
  expect(() => ended.continueWith(program(['true']))).toThrow();
});

test('what a parked program will probably do is written before; it may turn out otherwise', async () => {
  const likely = new PreparedProgram(program(['echo', 'id-0001']), { variables: ['id-0001'] });
  const told = async (...what: Parameters<Launched['continueWith']>) => {
    const one = parked();
    await one.ready;
    one.prepareToContinue(likely, ['id-0002']);
    one.continueWith(...what);
    return (await outcome(one)).stdout;
  };
  expect(await told(likely, ['id-0002'])).toBe('id-0002\n');
  expect(await told(likely, ['id-0003'])).toBe('id-0003\n');
  expect(await told(program(['echo', 'x'.repeat(10_000)]))).toBe(`${'x'.repeat(10_000)}\n`);
  expect(await told(program(['echo']))).toBe('\n');
});

test('a parked program that is gone, though nobody has heard of it yet, does not begin, and whoever tells it to learns so', async () => {
  const one = parked();
  await one.ready;
  one.prepareToContinue();
  process.kill(one.pid!, 'SIGKILL');
  while (one.alive);
  expect(() => one.continueWith(program(['echo', 'on']))).toThrow(expect.objectContaining({ code: 'EPIPE' }));
  const { stdout, exit } = await outcome(one);
  expect({ stdout, signal: exit.signal }).toEqual({ stdout: '', signal: 'SIGKILL' });
});

test('how a parked program ended that had not read what it was sent is known', async () => {
  const one = parked();
  await one.ready;
  process.kill(one.pid!, 'SIGSTOP');
  expect(await eventually(() => processEntries().some(({ pid, state }) => pid === one.pid && state === 'T'))).toBe(
    true,
  );
  one.prepareToContinue();
  process.kill(one.pid!, 'SIGKILL');
  const { exit } = await outcome(one);
  expect(exit).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
});

test('where no signal can be queued, what the kernel sends in its place is not for the program', async () => {
  const limit = (soft: string) => execFileSync('prlimit', [`--sigpending=${soft}:`, '--pid', String(process.pid)]);
  const [, before] = /^Max pending signals\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))!;
  endZygote();
  limit('0');
  try {
    const launched = launch({ steps: monitoredPlan(['sh', '-c', 'sleep 0.1; exit 7']) });
    await launched.executed;
    expect((await outcome(launched)).exit).toMatchObject({ exitCode: 7, signal: null });
  } finally {
    limit(before!);
    endZygote();
  }
});

test('a monitor that is killed before its child asked to die with it takes the child along', async () => {
  const launched = launch({
    steps: [
      { op: 'newSession' },
      {
        op: 'clone',
        supervisor: 'monitor',
        namespaces: [],
        child: [{ op: 'park' }, { op: 'dieWithParent' }, ...program(['sleep', '60'])],
      },
    ],
  });
  await launched.ready;
  process.kill(launched.monitorPid, 'SIGKILL');
  launched.go();
  const { exit } = await outcome(launched);
  expect(exit).toMatchObject({ exitCode: null, signal: 'SIGKILL', usage: undefined });
  // Whoever adopts orphans on this machine reaps it.
  expect(
    await eventually(() => processes(({ pid, state }) => pid === launched.pid && state !== 'Z').length === 0),
  ).toBe(true);
});

describe('what the program finds', () => {
  const status = async (plan: readonly Step[]) => {
    const { stdout } = await run({ steps: plan });
    return (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(stdout)?.[1];
  };

  test.each([
    ['plain', plainPlan],
    ['monitored', monitoredPlan],
  ])('%s: no signal is blocked, ignored or pending', async (_, plan) => {
    // cat catches nothing itself. Node ignores SIGPIPE and SIGXFSZ.
    const field = await status(plan(['cat', '/proc/self/status']));
    for (const name of ['SigPnd', 'ShdPnd', 'SigBlk', 'SigIgn', 'SigCgt'])
      expect([name, field(name)]).toEqual([name, '0000000000000000']);
  });

  test('an empty environment, or the one it was given', async () => {
    expect((await run({ steps: plainPlan(['env']) })).stdout).toBe('');
    expect((await run({ steps: plainPlan(['env'], ['A=1', 'B=two words', 'C=']) })).stdout).toBe(
      'A=1\nB=two words\nC=\n',
    );
  });

  test('a session of its own, without a terminal', async () => {
    const { stdout } = await run({ steps: plainPlan(['sh', '-c', 'echo $$; cut -d" " -f5-7 /proc/self/stat']) });
    const [pid, ids] = stdout.split('\n');
    expect(ids).toBe(`${pid} ${pid} 0`);
  });

  test('only the descriptors that were named', async () => {
    // A descriptor that Node inherited is not close-on-exec; this one stands for it.
    const inherited = openSync('/dev/null', 'r');
    const { stdout } = await run({ steps: plainPlan(['ls', '-1', '/proc/self/fd']) });
    closeSync(inherited);
    expect(stdout.trim().split('\n')).toEqual(['0', '1', '2', '3']); // 3 is the directory that ls reads
    for (const plan of [plainPlan, monitoredPlan]) {
      const links = (
        await run({
          steps: plan(['readlink', '/proc/self/fd/0', '/proc/self/fd/1', '/proc/self/fd/3', '/proc/self/fd/4']),
        })
      ).stdout;
      expect(links).toMatch(/^\/dev\/null\npipe:\[\d+\]\n$/);
    }
  });

  test('extra descriptors are 3, 4, … in their order, however many and whatever their numbers here', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'extra-fds-'));
    const names = Array.from({ length: 40 }, (_, i) => join(directory, `file ${i}`));
    for (const [i, name] of names.entries()) writeFileSync(name, `content ${i}`);
    const fds = names.map((name) => openSync(name, 'r'));
    try {
      // The other way round: nearly every number is the target of another.
      const extraFds = [...fds].reverse();
      const script = 'for fd in $(seq 3 42); do readlink /proc/self/fd/$fd; done; readlink /proc/self/fd/43';
      for (const plan of [plainPlan, monitoredPlan]) {
        const { stdout, exit } = await run({ steps: plan(['bash', '-c', script]), extraFds });
        expect(stdout.trim().split('\n')).toEqual([...names].reverse());
        expect(exit.failure).toBeUndefined();
      }
      // One descriptor twice, and they are still ours.
      const twice = await run({
        steps: plainPlan(['bash', '-c', 'readlink /proc/self/fd/3 /proc/self/fd/4']),
        extraFds: [fds[0]!, fds[0]!],
      });
      expect(twice.stdout).toBe(`${names[0]}\n${names[0]}\n`);
      expect(readFileSync(fds[5]!, 'utf8')).toBe('content 5');
    } finally {
      fds.forEach(closeSync);
      rmSync(directory, { recursive: true });
    }
  });

  test('standard streams may be descriptors of the caller', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'stdio-'));
    const [input, output] = [join(directory, 'in'), join(directory, 'out')];
    writeFileSync(input, 'given\n');
    const fds = [openSync(input, 'r'), openSync(output, 'w')] as const;
    const launched = launch({ steps: plainPlan(['sh', '-c', 'cat; echo err >&2']), stdio: [fds[0], fds[1], fds[1]] });
    expect([launched.stdin, launched.stdout, launched.stderr]).toEqual([null, null, null]);
    await launched.exited;
    fds.forEach(closeSync);
    expect(readFileSync(output, 'utf8')).toBe('given\nerr\n');
    rmSync(directory, { recursive: true });
  });

  test('rlimits, umask and the directory', async () => {
    const steps: Step[] = [
      { op: 'rlimit', name: 'nofile', soft: 123, hard: 456, required: true },
      { op: 'rlimit', name: 'core', soft: 0, hard: 0, required: true },
      { op: 'umask', mask: 0o27 },
      { op: 'workingDirectory', path: '/usr/bin', create: false },
      ...program(['sh', '-c', 'ulimit -Sn; ulimit -Hn; ulimit -c; umask; pwd']),
    ];
    expect((await run({ steps })).stdout).toBe('123\n456\n0\n0027\n/usr/bin\n');
  });
});

describe('streams', () => {
  test('stdin is written and ended', async () => {
    const launched = launch({ steps: monitoredPlan(['wc', '-c']), stdio: ['pipe', 'pipe', 'pipe'] });
    const done = outcome(launched);
    const chunk = Buffer.alloc(100_000, 'x');
    for (let i = 0; i < 20; i++)
      if (!launched.stdin!.write(chunk)) await new Promise((resolve) => launched.stdin!.once('drain', resolve));
    launched.stdin!.end();
    expect((await done).stdout.trim()).toBe('2000000');
  });

  test('an input nobody asked for can be ended', async () => {
    const launched = launch({ steps: plainPlan(['wc', '-c']), stdio: ['pipe', 'pipe', 'pipe'] });
    launched.streams.closeUnusedStdin();
    expect((await outcome(launched)).stdout.trim()).toBe('0');
    expect(launched.stdin).toBeNull();
  });

  test('a program that ends without reading leaves an input that can be destroyed', async () => {
    const launched = launch({ steps: plainPlan(['true']), stdio: ['pipe', 'pipe', 'pipe'] });
    const errors: string[] = [];
    launched.stdin!.on('error', (error: NodeJS.ErrnoException) => errors.push(error.code!));
    await outcome(launched);
    launched.stdin!.write(Buffer.alloc(100_000));
    expect(await eventually(() => launched.stdin!.destroyed)).toBe(true);
    expect(errors.every((code) => code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED')).toBe(true);
  });

  test('a reader that does not read holds the writer back', async () => {
    const launched = launch({ steps: plainPlan(['dd', 'if=/dev/zero', 'bs=64k', 'count=256', 'status=none']) });
    const stdout = launched.stdout!;
    await once(stdout, 'readable');
    await delay(100);
    // 16 MiB were to be written: what fits the pipe and one read of ours is all that was.
    expect(stdout.readableLength).toBeLessThan(1024 * 1024);
    let ended = false;
    void launched.exited.then(() => (ended = true));
    await delay(50);
    expect(ended).toBe(false);
    let total = 0;
    for await (const chunk of stdout) total += (chunk as Buffer).length;
    expect(total).toBe(16 * 1024 * 1024);
    expect((await outcome(launched)).exit.exitCode).toBe(0);
  });

  test('output ends when the last process that has it ends, and exited does not wait for it', async () => {
    const launched = launch({ steps: plainPlan(['sh', '-c', 'echo one; (sleep 0.2; echo two) &']) });
    const { stdout, exit } = await outcome(launched);
    expect(stdout).toBe('one\ntwo\n');
    expect(exit.exitCode).toBe(0);
  });
});

function once(stream: NodeJS.EventEmitter, event: string): Promise<void> {
  return new Promise((resolve) => stream.once(event, () => resolve()));
}

describe('looking for the program', () => {
  let directory: string;
  const candidate = (name: string) => join(directory, name);
  const exec = (candidates: readonly string[], argv: readonly string[] = ['tool']): Step[] => [
    { op: 'closeFds' },
    { op: 'unblockSignals' },
    { op: 'exec', candidates, argv, env: [] },
  ];

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'candidates-'));
    writeFileSync(candidate('works'), '#!/bin/sh\necho "$0"\n', { mode: 0o755 });
    writeFileSync(candidate('denied'), '#!/bin/sh\necho never\n', { mode: 0o644 });
    writeFileSync(candidate('binary'), 'neither ELF nor script', { mode: 0o755 });
    writeFileSync(candidate('orphan'), '#!/no/such/interpreter\n', { mode: 0o755 });
    mkdirSync(candidate('directory'));
    symlinkSync('loop', candidate('loop'));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  test.each<[string, string[], string | undefined]>([
    ['the first that exists', ['missing', 'works'], undefined],
    ['a file in the way of a path (ENOTDIR) is none', ['works/below', 'works'], undefined],
    ['a file that may not be executed is passed over', ['denied', 'works'], undefined],
    ['so is a directory', ['directory', 'works'], undefined],
    ['none', ['missing', 'absent'], 'ENOENT'],
    ['none, but one was not permitted', ['missing', 'denied', 'absent'], 'EACCES'],
    ['one that cannot run ends the search', ['binary', 'works'], 'ENOEXEC'],
    ['also in the last place', ['missing', 'binary'], 'ENOEXEC'],
    ['a loop of links ends it too', ['loop', 'works'], 'ELOOP'],
    ['a missing interpreter counts as not there', ['orphan', 'works'], undefined],
    ['a single one: missing', ['missing'], 'ENOENT'],
    ['a single one: not permitted', ['denied'], 'EACCES'],
    ['a single one: no program', ['binary'], 'ENOEXEC'],
  ])('%s', async (_, names, code) => {
    const { stdout, exit } = await run({ steps: exec(names.map(candidate)) });
    expect(exit.failure?.code).toBe(code);
    if (code === undefined) expect(stdout).toBe(`${candidate('works')}\n`);
    else
      expect(exit).toMatchObject({
        exitCode: 125,
        failure: { syscall: 'execve', step: { op: 'exec', number: 3, of: 3 } },
      });
  });

  test('executed rejects with what the exit tells', async () => {
    const launched = launch({ steps: exec([candidate('missing')]) });
    const error = await launched.executed.catch((caught: SyscallError) => caught);
    expect(error).toMatchObject({ code: 'ENOENT', syscall: 'execve' });
    expect((await outcome(launched)).exit.failure).toBe(error);
  });
});

describe('limits', () => {
  test('a megabyte of environment in many strings arrives whole', async () => {
    const env = Array.from({ length: 64 }, (_, i) => `VARIABLE_${i}=${'x'.repeat(16 * 1024)}`);
    const { stdout } = await run({ steps: plainPlan(['sh', '-c', 'env | grep -c "^VARIABLE_"; env | wc -c'], env) });
    expect(stdout.split('\n')[0]).toBe('64');
    expect(Number(stdout.split('\n')[1])).toBeGreaterThan(1024 * 1024);
  });

  test.each([
    ['one string of a megabyte', [`BIG=${'x'.repeat(1024 * 1024)}`]],
    ['eight megabytes in all', Array.from({ length: 128 }, (_, i) => `V${i}=${'x'.repeat(64 * 1024)}`)],
  ])('%s is more than the kernel takes: an error that says so', async (_, env) => {
    for (const command of ['true', '/bin/true']) {
      const { exit } = await run({ steps: plainPlan([command], env) });
      expect(exit.failure).toMatchObject({ code: 'E2BIG', syscall: 'execve', hint: expect.stringMatching(/128 KiB/) });
      expect(exit.failure!.message).toMatch(/^execute .*: E2BIG argument list too long \(step 4 of 4, exec: execve\)/);
    }
  });

  test('a NUL in an argument or variable is refused before anything is started', async () => {
    const before = kernelState();
    expect(() => launch({ steps: plainPlan(['true', 'a\0b']) })).toThrow(SpecError);
    expect(() => launch({ steps: plainPlan(['true'], ['A=\0']) })).toThrow(SpecError);
    expect(await leftSince(before)).toEqual([]);
  });

  test('a program of 60,000 instructions runs', async () => {
    const steps: Step[] = [
      ...Array.from({ length: 60_000 }, (): Step => ({ op: 'umask', mask: 0o22 })),
      ...program(['sh', '-c', 'umask']),
    ];
    expect((await run({ steps })).stdout).toBe('0022\n');
  });

  test('more than a program can have is refused', () => {
    const steps: Step[] = Array.from({ length: 66_000 }, () => ({ op: 'umask', mask: 0o22 }));
    expect(() => launch({ steps })).toThrow(SpecError);
  });

  test('the last of 60,000 steps that fails is named', async () => {
    const steps: Step[] = Array.from({ length: 60_000 }, () => ({ op: 'umask', mask: 0o22 }));
    steps.push({ op: 'workingDirectory', path: '/no/such/place', create: false });
    const { exit } = await run({ steps });
    expect(exit.failure).toMatchObject({
      code: 'ENOENT',
      syscall: 'chdir',
      path: '/no/such/place',
      step: { number: 60_001, of: 60_001, op: 'workingDirectory' },
    });
  });

  test('descriptors that are not open cannot be handed over', async () => {
    const before = kernelState();
    expect(() => launch({ steps: plainPlan(['true']), extraFds: [99_999] })).toThrow(
      expect.objectContaining({ code: 'EBADF', syscall: 'posix_spawn' }),
    );
    expect(() => launch({ steps: plainPlan(['true']), stdio: [99_999, 'pipe', 'pipe'] })).toThrow(
      expect.objectContaining({ code: 'EBADF' }),
    );
    expect(await leftSince(before)).toEqual([]);
  });
});

test('a payload cannot reach the socket by which its end is told', async () => {
  const script = 'for fd in /proc/self/fd/*; do readlink "$fd"; done | grep -c -e socket -e memfd';
  for (const plan of [plainPlan, monitoredPlan])
    expect((await run({ steps: plan(['bash', '-c', script]) })).stdout.trim()).toBe('0');
  // Even a plan that forgets to close descriptors does not hand it over.
  const careless: Step[] = [
    {
      op: 'exec',
      candidates: ['/bin/bash'],
      argv: ['bash', '-c', 'for fd in /proc/self/fd/*; do readlink "$fd"; done | grep -c socket'],
      env: [],
    },
  ];
  expect((await run({ steps: careless })).stdout.trim()).toBe('0');
});

test('twenty programs one after the other leave nothing here', async () => {
  await run({ steps: monitoredPlan(['true']), stdio: ['pipe', 'pipe', 'pipe'] });
  const before = kernelState();
  for (let i = 0; i < 20; i++) {
    await run({ steps: plainPlan(['true']), stdio: ['pipe', 'pipe', 'pipe'] });
    await run({ steps: monitoredPlan(['true']), stdio: ['pipe', 'pipe', 'pipe'] });
  }
  expect(await leftSince(before)).toEqual([]);
});

test('a pipe of ours that goes to the program is not held by the monitor', async () => {
  const { read, write } = pipe();
  const launched = launch({ steps: monitoredPlan(['bash', '-c', 'exec 3>&-; sleep 60']), extraFds: [write.fd] });
  await launched.started;
  write.close();
  // Readable without data: the end, though the program still runs.
  const bytes = Buffer.alloc(1);
  expect(readSync(read.fd, bytes)).toBe(0);
  launched.kill();
  await outcome(launched);
  read.close();
});
