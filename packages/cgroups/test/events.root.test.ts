import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cgroup, type CgroupEvent, type CgroupHost, detectCgroups, type EventsOptions, onlyV1 } from '@ns/cgroups';
import { needs, notRoot, slowness } from '@ns/testing';

/* Each event of a cgroup when the kernel has reason for it. Those of the first and the last process, and of killed ones, are in the conformance suite. */

const machine = detectCgroups();
const name = `events-${process.pid}`;
const hosts: readonly CgroupHost[] = machine.mode === 'hybrid' ? [machine, onlyV1(machine)] : [machine];
const memoryVersion = machine.controllers.get('memory')?.version;
const disk = process.env.NS_TEST_DIR ?? tmpdir();
const deadlineMs = 30_000;

/** The first event of a type while a shell runs a script in the cgroup; it is killed then. */
async function eventOf(
  cg: Cgroup,
  type: CgroupEvent['type'],
  script: string,
  options: EventsOptions = {},
): Promise<CgroupEvent | undefined> {
  using events = cg.events({ ...options, signal: AbortSignal.timeout(20_000 * slowness) });
  const shell: ChildProcess = spawn('sh', ['-c', `read go; ${script}`], { stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = once(shell, 'exit');
  try {
    await cg.add(shell.pid!);
    shell.stdin!.end('go\n');
    for await (const event of events) if (event.type === type) return event;
  } finally {
    await cg.kill();
    await ended;
  }
}

/** Writes a file through the page cache, of which the kernel takes back what is over a limit. */
async function fillCache(act: (script: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(disk, 'cgroup-events-'));
  try {
    await act(`while :; do dd if=/dev/zero of=${directory}/file bs=1M count=64 conv=fsync; done`);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const [major = 0, minor = 0] = release().split('.').map(Number);
const silentV1 = major > 6 || (major === 6 && minor >= 11) ? 'v1 tells of no refused fork since Linux 6.11' : undefined;

for (const host of hosts) {
  needs(notRoot ?? (host.controllers.get('pids')?.version === 1 ? silentV1 : undefined))(
    `${host.mode}: a fork that is refused`,
    async () => {
      await using cg = await Cgroup.create(name, { pids: { max: 4 } }, { host });
      const event = await eventOf(cg, 'pids_max', 'while :; do sleep 60 & done');
      expect(event).toMatchObject({ type: 'pids_max', count: expect.any(Number) });
      expect((await cg.stats()).pids?.refused).toBeGreaterThan(0);
    },
    deadlineMs,
  );
}

needs(notRoot ?? (machine.unified ? undefined : 'no cgroup v2 tree'))('frozen, and thawed', async () => {
  await using cg = await Cgroup.create(name);
  const sleeper = spawn('sleep', ['60']);
  await cg.add(sleeper.pid!);
  using events = cg.events();
  const next = async (): Promise<CgroupEvent | undefined> => {
    for (;;) {
      const { value } = await events.next();
      if (value === undefined || value.type === 'frozen') return value;
    }
  };
  await cg.freeze();
  expect(await next()).toEqual({ type: 'frozen', frozen: true });
  await cg.thaw();
  expect(await next()).toEqual({ type: 'frozen', frozen: false });
  await cg.kill();
});

describe('memory of v2', () => {
  const notV2 = memoryVersion === 2 ? undefined : 'not a cgroup v2 host';

  for (const [type, limits] of [
    ['high', { high: '16MiB' }],
    ['max', { max: '16MiB' }],
  ] as const) {
    needs(notRoot ?? notV2)(
      `${type}: what is over ${type} is taken back`,
      () =>
        fillCache(async (script) => {
          await using cg = await Cgroup.create(name, { memory: limits });
          expect(await eventOf(cg, type, script)).toMatchObject({ type });
          expect(cg.oomKills()).toBe(0);
        }),
      deadlineMs,
    );
  }
});

needs(notRoot ?? (memoryVersion === 1 ? undefined : 'the memory controller is not on v1'))(
  'v1 tells that memory is taken back',
  () =>
    fillCache(async (script) => {
      await using cg = await Cgroup.create(name, { memory: { max: '16MiB' } }, { host: onlyV1(machine) });
      const event = await eventOf(cg, 'memory_pressure', script, { memoryPressureLevel: 'low' });
      expect(event).toEqual({ type: 'memory_pressure', level: 'low' });
    }),
  deadlineMs,
);
