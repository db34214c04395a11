import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { readlink } from 'node:fs/promises';

import { readProcessStat, SYS, syscall } from '@ns/libc';
import { eventually, needs, notRoot, processEntries, processes, processesInNamespace } from '@ns/testing';
import { launch } from '../src/index.ts';
import { assembleContainer, containerPlan, initPlan, program } from './plans.ts';
import { outcome, run } from './run.ts';

/* Processes in namespaces: what the kernel says of them. */

const rootTest = needs(notRoot);
const KCMP_VM = 1; // <linux/kcmp.h>
const container = (script: string) => assembleContainer(containerPlan(['bash', '-c', script]));

describe('a container made of steps', () => {
  rootTest('until its program is executed, the process of it has the memory of its init, which waits', async () => {
    const launched = launch({ steps: initPlan(['true'], { before: [{ op: 'receiveSteps' }] }) });
    await launched.ready;
    const init = await launched.started;
    const [child] = readFileSync(`/proc/${init}/task/${init}/children`, 'latin1').match(/\d+/g)!.map(Number);
    const haveOneMemory = () => syscall(SYS.kcmp, init, child!, KCMP_VM, 0, 0) === 0;
    expect({ haveOneMemory: haveOneMemory(), init: readProcessStat(init)!.state }).toEqual({
      haveOneMemory: true,
      init: 'D',
    });
    launched.continueWith(program(['sleep', '60']));
    await launched.executed;
    // The kernel wakes the init an instant before it gives the other its own memory.
    expect(await eventually(() => !haveOneMemory())).toBe(true);
    launched.kill();
    expect((await outcome(launched)).exit.signal).toBe('SIGKILL');
  });

  rootTest('is one: pid, host name, mounts, network, capabilities', async () => {
    const { stdout, exit } = await run({
      steps: container(`
        echo "name $(hostname)"
        echo "init $(tr '\\0' ' ' < /proc/1/cmdline)"
        echo "pids $(ls -d /proc/[0-9]* | wc -l)"
        echo "network $(tail -n +3 /proc/net/dev | wc -l)"
        echo "cwd $PWD"
        echo "caps $(grep -c '00000000a80425fb' /proc/self/status)"
        echo "empty $(grep -cE 'Cap(Inh|Amb):.0000000000000000' /proc/self/status)"
        echo "nnp $(grep NoNewPrivs /proc/self/status | cut -f2)"
        echo "placed $(cat /etc/launch-test)"
        echo "masked $(stat -c %t:%T /proc/cmdline)"
        echo "files $(find /sys/firmware | wc -l)"
        echo x 2>/dev/null > /proc/sys/vm/swappiness || echo "sysctl read-only"
        touch /mnt/x 2>/dev/null || echo "bind read-only"
        echo "port $(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)"
        touch /etc/written && echo "writable"
        echo "old root $(grep -c ' /oldroot' /proc/self/mountinfo)"
      `),
    });
    expect(exit.failure).toBeUndefined();
    const found = Object.fromEntries(
      stdout
        .trim()
        .split('\n')
        .map((line) => [line.split(' ')[0]!, line.split(' ').slice(1).join(' ')]),
    );
    expect(found).toMatchObject({
      name: 'sandbox',
      init: expect.stringContaining('ns-init'),
      network: '1',
      cwd: '/srv/app',
      caps: '3', // permitted, effective, bounding
      empty: '2', // inheritable, ambient
      nnp: '1',
      placed: 'placed',
      masked: '1:3',
      files: '1',
      sysctl: 'read-only',
      bind: 'read-only',
      port: '0',
      writable: '',
      old: 'root 0',
    });
    expect(Number(found.pids)).toBeLessThan(8);
    expect(() => readFileSync('/etc/written')).toThrow('ENOENT');
  });

  rootTest('has only the descriptors that were named, and no signal blocked or ignored', async () => {
    const { stdout } = await run({
      steps: container('ls -l /proc/self/fd | sed "s/.* \\([0-9]*\\) -> /\\1 /"; grep Sig /proc/self/status'),
    });
    expect(stdout).toMatch(/^total 0\n0 \/dev\/null\n1 pipe:\[\d+\]\n2 pipe:\[\d+\]\n3 \/proc\/\d+\/fd\n/);
    expect(stdout).toMatch(/SigBlk:\s0000000000000000\nSigIgn:\s0000000000000000/);
  });

  rootTest('its monitor holds the status socket and a pipe from its init, the init nothing but that pipe', async () => {
    const launched = launch({ steps: container('echo ready; sleep 60') });
    await new Promise((resolve) => launched.stdout!.once('data', resolve));
    // Not dumpable: only root may look at all.
    const held = (pid: number) => processDescriptors(pid).sort().join(' ');
    expect(await eventually(() => /^pipe:\[\d+\]$/.test(held(launched.pid!)))).toBe(true);
    expect(await eventually(() => /^pipe:\[\d+\] socket:\[\d+\]$/.test(held(launched.monitorPid)))).toBe(true);
    launched.kill();
    await outcome(launched);
  });

  rootTest('its init keeps no capability but to signal', async () => {
    const launched = launch({ steps: container('echo ready; sleep 60') });
    await new Promise((resolve) => launched.stdout!.once('data', resolve));
    // It gives them up as soon as the program runs, side by side with it.
    const status = () => readFileSync(`/proc/${launched.pid!}/status`, 'utf8');
    expect(await eventually(() => /CapPrm:\s0000000000000020\nCapEff:\s0000000000000020/.test(status()))).toBe(true);
    expect(status()).toMatch(/NoNewPrivs:\s1/);
    launched.kill();
    await outcome(launched);
  });
});

function processDescriptors(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
}

describe('init', () => {
  rootTest('reaps orphans', async () => {
    // A double fork: the grandchildren become children of pid 1.
    const launched = launch({
      steps: initPlan(['bash', '-c', 'for i in 1 2 3 4 5; do (sleep 0.05 &) ; done; echo done; exec sleep 60']),
    });
    await new Promise((resolve) => launched.stdout!.once('data', resolve));
    const namespace = readlinkSync(`/proc/${launched.pid!}/ns/pid`);
    const init = launched.pid!;
    // Itself and the last command, which bash became; a zombie would be its child, too.
    const left = () => processEntries().filter(({ pid, parent }) => pid === init || parent === init);
    expect(await eventually(() => left().length === 2 && processesInNamespace('pid', namespace).length === 2)).toBe(
      true,
    );
    expect(left().map(({ state }) => state)).toEqual(['S', 'S']);
    launched.kill();
    await outcome(launched);
  });

  rootTest('passes signals on to the program', async () => {
    for (const signal of ['SIGTERM', 'SIGUSR2', 'SIGWINCH', 'SIGALRM'] as const) {
      const script = `trap 'exit 9' ${signal.slice(3)}; echo ready; while :; do sleep 0.01; done`;
      const launched = launch({ steps: initPlan(['bash', '-c', script], { timeoutMs: 20_000 }) });
      launched.stdout!.once('data', () => launched.signal(signal));
      expect((await outcome(launched)).exit).toMatchObject({ exitCode: 9, timedOut: false });
    }
  });

  rootTest('stops the program, not itself', async () => {
    const launched = launch({ steps: initPlan(['bash', '-c', 'echo ready; exec sleep 60']) });
    await new Promise((resolve) => launched.stdout!.once('data', resolve));
    await launched.executed;
    launched.signal('SIGSTOP');
    const state = (pid: number) => processEntries().find((entry) => entry.pid === pid)?.state;
    const payload = () => processEntries().find(({ parent }) => parent === launched.pid)!.pid;
    expect(await eventually(() => state(payload()) === 'T')).toBe(true);
    expect(await eventually(() => `${state(launched.monitorPid)}${state(launched.pid!)}` === 'SS')).toBe(true);
    launched.signal('SIGCONT');
    expect(await eventually(() => state(payload()) === 'S')).toBe(true);
    launched.kill();
    await outcome(launched);
  });

  rootTest('takes everything along when the program ends', async () => {
    const launched = launch({
      steps: initPlan(['bash', '-c', 'setsid sleep 60 & (sleep 61 &) ; echo ready; read -r _; exit 4']),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    await new Promise((resolve) => launched.stdout!.once('data', resolve));
    const namespace = readlinkSync(`/proc/${launched.pid!}/ns/pid`);
    expect(processesInNamespace('pid', namespace).length).toBeGreaterThan(2);
    launched.stdin!.end('\n');
    const { exit } = await outcome(launched);
    expect(exit.exitCode).toBe(4);
    // Settled means gone: no waiting here.
    expect(processesInNamespace('pid', namespace)).toEqual([]);
  });

  rootTest('tells how the program ended, a signal too', async () => {
    expect((await run({ steps: initPlan(['bash', '-c', 'kill -SEGV $$']) })).exit).toMatchObject({
      exitCode: null,
      signal: 'SIGSEGV',
    });
    expect((await run({ steps: initPlan(['bash', '-c', 'exit 255']) })).exit).toMatchObject({
      exitCode: 255,
      signal: null,
    });
  });

  rootTest('survives what the program sends it', async () => {
    const { exit, stdout } = await run({
      steps: initPlan([
        'bash',
        '-c',
        'trap "" HUP INT; kill -KILL 1; kill -STOP 1; kill -HUP 1; kill -CHLD 1; kill -INT 1; sleep 0.1; echo alive',
      ]),
    });
    expect({ stdout, code: exit.exitCode }).toEqual({ stdout: 'alive\n', code: 0 });
  });

  rootTest('counts the time and memory of all it waited for', async () => {
    const busy = 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done';
    const { exit } = await run({ steps: initPlan(['bash', '-c', `(${busy}); (${busy}) & wait`]) });
    expect(exit.usage!.cpuUserMs + exit.usage!.cpuSystemMs).toBeGreaterThan(20);
    expect(exit.usage!.maxResidentBytes).toBeGreaterThan(1_000_000);
  });

  rootTest('a timeout ends everything in the namespace', async () => {
    /** The namespace; if it was over before anybody had looked, that of another try. */
    const endedAfter = async (timeoutMs: number): Promise<string> => {
      const script = 'trap "" TERM HUP INT; setsid sleep 60 & sleep 60';
      const launched = launch({ steps: initPlan(['bash', '-c', script], { timeoutMs }) });
      const namespace = await readlink(`/proc/${await launched.started}/ns/pid`).catch(() => undefined);
      expect((await outcome(launched)).exit).toMatchObject({ signal: 'SIGKILL', timedOut: true });
      return namespace ?? endedAfter(2 * timeoutMs);
    };
    expect(processesInNamespace('pid', await endedAfter(200))).toEqual([]);
  });

  rootTest('executed is a fact: when it settles the program runs', async () => {
    const launched = launch({ steps: initPlan(['sleep', '60']) });
    await launched.executed;
    // The kernel wakes the init an instant before it gives the other its name.
    const payload = () => processEntries().find(({ parent }) => parent === launched.pid);
    expect(await eventually(() => payload()?.name === 'sleep')).toBe(true);
    launched.kill();
    await outcome(launched);
  });

  rootTest('executed rejects when the setup is ended before', async () => {
    const launched = launch({ steps: initPlan(['true'], { setup: [{ op: 'park' }] }) });
    await launched.ready;
    launched.kill();
    await expect(launched.executed).rejects.toMatchObject({ message: expect.stringMatching(/ended during its setup/) });
    expect((await outcome(launched)).exit.signal).toBe('SIGKILL');
  });
});

describe('a user namespace', () => {
  rootTest('maps ids as given, and the program is its root', async () => {
    const range = { container: 0, host: 100_000, size: 1000 };
    const { stdout, exit } = await run({
      steps: [
        { op: 'newSession' },
        {
          op: 'clone',
          supervisor: 'monitor',
          namespaces: ['pid'],
          idMaps: { uids: [range], gids: [range], denySetgroups: false },
          child: [
            { op: 'dieWithParent' },
            ...program([
              'sh',
              '-c',
              'id -u; tr -s " " < /proc/self/uid_map; tr -s " " < /proc/self/gid_map; cat /proc/self/setgroups',
            ]),
          ],
        },
      ],
    });
    expect(exit.failure).toBeUndefined();
    expect(stdout).toBe('0\n 0 100000 1000\n 0 100000 1000\nallow\n');
  });

  rootTest('that cannot be mapped ends the start, and nothing is left of it', async () => {
    const children = () => processes(({ parent }) => parent === process.pid);
    const before = children().length;
    const launched = launch({
      steps: [
        {
          op: 'clone',
          supervisor: 'monitor',
          namespaces: ['pid'],
          idMaps: { uids: [{ container: 0, host: 0, size: 0 }], gids: [], denySetgroups: true },
          child: program(['true']),
        },
      ],
    });
    const { exit } = await outcome(launched);
    expect(exit.failure).toMatchObject({ syscall: 'write', step: { op: 'clone' } });
    expect(await eventually(() => children().length <= before)).toBe(true);
  });
});

rootTest('a seccomp listener is handed over', async () => {
  // if nr == getppid: user notification, otherwise allow
  const words = [
    [0x20, 0, 0, 0],
    [0x15, 0, 1, process.arch === 'x64' ? 110 : 173],
    [0x06, 0, 0, 0x7fc00000],
    [0x06, 0, 0, 0x7fff0000],
  ] as const;
  const filter = Buffer.alloc(8 * words.length);
  for (const [i, [code, jt, jf, k]] of words.entries()) {
    filter.writeUInt16LE(code, i * 8);
    filter[i * 8 + 2] = jt;
    filter[i * 8 + 3] = jf;
    filter.writeUInt32LE(k, i * 8 + 4);
  }
  const launched = launch({
    steps: initPlan(['sleep', '60'], { before: [{ op: 'seccomp', filter, flags: 0, listener: true }] }),
  });
  const listener = await launched.seccompListener;
  expect(readlinkSync(listener.procPath)).toBe('anon_inode:seccomp notify');
  listener.close();
  launched.kill();
  await outcome(launched);
});

rootTest('limits and the score of the OOM killer', async () => {
  const { stdout } = await run({
    steps: initPlan(['sh', '-c', 'cat /proc/self/oom_score_adj; ulimit -n'], {
      before: [
        { op: 'oomScoreAdj', value: 321 },
        { op: 'rlimit', name: 'nofile', soft: 64, hard: 64, required: true },
      ],
    }),
  });
  expect(stdout).toBe('321\n64\n');
});
