import { closeSync, mkdtempSync, openSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { eventually, kernelState, leftSince, needs, notRoot, processEntries } from '@ns/testing';
import { childTable } from '../src/child-table.ts';
import { type LaunchOptions, launch } from '../src/index.ts';
import { patience, rest } from '../src/zygote.ts';
import { NodeScript } from './node-script.ts';
import { monitoredPlan } from './plans.ts';
import { run } from './run.ts';

/* Who makes a process must not matter to it, to us, or to what is left. */

const rootTest = needs(notRoot);
const zygotes = () => processEntries().filter(({ parent, name }) => parent === process.pid && name === 'ns-zygote');
const statusOf = (pid: number, field: string) =>
  new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1];

/** The zygote that the next launch will use. */
async function zygote(): Promise<number> {
  for (let i = 0; i < 2; i++) await run({ steps: monitoredPlan(['true']) });
  return theOnlyOne();
}

async function theOnlyOne(): Promise<number> {
  expect(await eventually(() => zygotes().length === 1)).toBe(true);
  return zygotes()[0]!.pid;
}

const { idleMs } = patience;
beforeEach(() => {
  // A busy machine is no reason for it to rest in the middle of a test.
  patience.idleMs = 60_000;
});
afterEach(() => {
  patience.idleMs = idleMs;
  rest();
});

rootTest('a first launch does without, and the caller may too', async () => {
  await run({ steps: monitoredPlan(['true']) });
  for (let i = 0; i < 3; i++) await run({ steps: monitoredPlan(['true']), direct: true });
  expect(zygotes()).toEqual([]);
});

rootTest('what it makes is our child, and like what we make ourselves', async () => {
  const script =
    'umask; pwd; id -u; id -G; ls /proc/self/fd; cut -d " " -f 41 /proc/self/stat; cat /proc/self/status /proc/self/limits';
  const look = async (options: Partial<LaunchOptions>) => {
    const launched = launch({ steps: monitoredPlan(['bash', '-c', script]), ...options });
    const monitor = launched.monitorPid;
    expect(Number(statusOf(monitor, 'PPid'))).toBe(process.pid);
    const output = await text(launched.stdout!);
    launched.stderr!.destroy();
    expect((await launched.exited).exitCode).toBe(0);
    return output
      .split('\n')
      .filter((line) => !/^(Pid|PPid|NSpid|NStgid|NSpgid|NSsid|Tgid|FDSize|Vm|Rss|SigQ|(non)?voluntary)/.test(line));
  };
  const direct = await look({ direct: true });
  await zygote();
  expect(await look({})).toEqual(direct);
});

rootTest('its pid is known when somebody asks, and a signal finds it at once', async () => {
  await zygote();
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const launched = launch({ steps: monitoredPlan(['sleep', '300']), stdio: ['null', 'null', 'null'] });
    if (signal === 'SIGTERM') await launched.executed;
    expect(launched.signal(signal)).toBe(true);
    expect((await launched.exited).signal).toBe(signal);
    expect(launched.signal(signal)).toBe(false);
  }
});

rootTest('with as many requests under way as it has room for, further launches do without', async () => {
  await zygote();
  const reserved = Array.from({ length: 1022 }, () => childTable().reserve()!);
  expect(childTable().reserve()).toBeUndefined();
  const without = launch({ steps: monitoredPlan(['true']), stdio: ['null', 'null', 'null'] });
  childTable().giveBack(reserved.pop()!);
  const again = launch({ steps: monitoredPlan(['true']), stdio: ['null', 'null', 'null'] });
  for (const slot of reserved) childTable().giveBack(slot);
  expect(await Promise.all([without.exited, again.exited])).toMatchObject([{ exitCode: 0 }, { exitCode: 0 }]);
});

rootTest('killed while idle: the next launch does without, the one after has another', async () => {
  const first = await zygote();
  process.kill(first, 'SIGKILL');
  expect(await eventually(() => zygotes().every(({ state }) => state === 'Z'))).toBe(true);
  expect((await run({ steps: monitoredPlan(['echo', 'out']) })).stdout).toBe('out\n');
  expect((await run({ steps: monitoredPlan(['echo', 'out']) })).stdout).toBe('out\n');
  expect(await theOnlyOne()).not.toBe(first);
});

rootTest(
  'killed with requests that it has not answered: we answer them, with descriptors that were closed since',
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'zygote-'));
    writeFileSync(join(directory, 'given'), 'what was given\n');
    const pid = await zygote();
    process.kill(pid, 'SIGSTOP');
    expect(await eventually(() => processEntries().some((one) => one.pid === pid && one.state === 'T'))).toBe(true);
    const launched = Array.from({ length: 20 }, (_, i) => {
      const fd = openSync(join(directory, 'given'), 'r');
      const name = `request-${10 + i}`;
      const steps = monitoredPlan(['sh', '-c', `echo ${name}; cat /proc/self/fd/3`]);
      const one = launch({ steps, extraFds: [fd], variables: [name] });
      closeSync(fd);
      return one;
    });
    process.kill(pid, 'SIGKILL');
    for (const [i, one] of launched.entries()) {
      one.stderr!.destroy();
      expect(await text(one.stdout!)).toBe(`request-${10 + i}\nwhat was given\n`);
      expect(await one.exited).toMatchObject({ exitCode: 0, failure: undefined });
    }
    rmSync(directory, { recursive: true });
  },
);

rootTest(
  'more requests at once than it can take',
  async () => {
    const pid = await zygote();
    process.kill(pid, 'SIGSTOP');
    // Some hundred fit into the socket; from then on we make them ourselves, and need not wait for it.
    const all = Array.from({ length: 400 }, () =>
      launch({ steps: monitoredPlan(['true']), stdio: ['null', 'null', 'null'] }),
    );
    expect((await all.at(-1)!.exited).exitCode).toBe(0);
    process.kill(pid, 'SIGCONT');
    for (const { exited } of all) expect((await exited).exitCode).toBe(0);
  },
  60_000,
);

rootTest('another umask and working directory are another zygote', async () => {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'zygote-')));
  const before = { directory: process.cwd(), umask: process.umask() };
  const pids = [await zygote()];
  const look = async () => (await run({ steps: monitoredPlan(['bash', '-c', 'pwd; umask']) })).stdout;
  try {
    process.chdir(directory);
    expect(await look()).toBe(`${directory}\n${before.umask.toString(8).padStart(4, '0')}\n`);
    pids.push(await theOnlyOne());
    process.umask(0o027);
    expect(await look()).toBe(`${directory}\n0027\n`);
    pids.push(await theOnlyOne());
    expect(new Set(pids).size).toBe(3);
  } finally {
    process.chdir(before.directory);
    process.umask(before.umask);
    rmSync(directory, { recursive: true });
  }
});

rootTest('nothing of it is left when nothing was started for a while', async () => {
  await eventually(() => zygotes().length === 0);
  const before = kernelState();
  patience.idleMs = 100;
  for (let i = 0; i < 3; i++) await run({ steps: monitoredPlan(['true']) });
  expect(await leftSince(before)).toEqual([]);
});

rootTest('nor when it is held up with what it was asked for for longer than that', async () => {
  await zygote();
  rest();
  await eventually(() => zygotes().length === 0);
  const before = kernelState();
  const pid = await zygote();
  process.kill(pid, 'SIGSTOP');
  const held = launch({ steps: monitoredPlan(['true']), stdio: ['null', 'null', 'null'] });
  patience.idleMs = 100;
  rest();
  process.kill(pid, 'SIGCONT');
  expect((await held.exited).exitCode).toBe(0);
  expect(await leftSince(before)).toEqual([]);
});

describe('a process that gives up privileges', () => {
  let script: NodeScript;
  beforeAll(() => {
    script = new NodeScript('less-privileged');
  });
  afterAll(() => script[Symbol.dispose]());
  const result = async (what: string) => JSON.parse(await text(script.start([what]).stdout)) as unknown;

  rootTest('starts others with those it has left', async () => {
    expect(await result('launches')).toEqual({ output: '65534', before: true, after: 65534, same: false });
  });

  rootTest('is not served by the zygote it had', async () => {
    expect(await result('asks')).toEqual({ result: 0, record: 'end' });
  });

  rootTest('may find that it can start none: the reason is in the exit', async () => {
    expect(await result('isLimited')).toEqual({
      limited: 0,
      first: { output: 'made', exitCode: 0 },
      second: { output: '', exitCode: 125, failure: 'EAGAIN' },
    });
  });
});

rootTest('the zygote of a worker thread ends with it', async () => {
  using script = new NodeScript('short-worker');
  expect(JSON.parse(await text(script.start([]).stdout))).toEqual({ seen: ['ns-zygote/w'], left: [] });
});

rootTest(
  'the thread that has made a worker waits for what that leaves, and starts nothing for it',
  async () => {
    using script = new NodeScript('ended-workers');
    const { most, left } = JSON.parse(await text(script.start([]).stdout));
    expect({ most, left }).toEqual({ most: expect.any(Number), left: [] });
    // Monitors, zygote and caretaker.
    expect(most).toBeGreaterThanOrEqual(5);
  },
  60_000,
);

rootTest('what a terminated worker leaves is waited for, and nobody who only bears the name of it', async () => {
  using script = new NodeScript('forged-name');
  expect(JSON.parse(await text(script.start([]).stdout))).toEqual({
    ofWorker: 4,
    table: 1,
    names: expect.arrayContaining(['ns-monitor/w', 'ns-zygote/w']),
    left: ['the child'],
    code: 7,
    tables: 0,
  });
});

rootTest('nor anybody who has the pid of a child that the worker had waited for itself', async () => {
  using script = new NodeScript('stale-pid');
  expect(JSON.parse(await text(script.start([]).stdout))).toEqual({ listed: 1, left: ['the child'], code: 7 });
});
