import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually, needs, notRoot } from '@ns/testing';
import { Container, type ContainerSpec, run } from '../src/index.ts';
import { cgroupDirectories, useOwnStateRoot } from './leaves-nothing.ts';

/* Programs made to use all there is, inside limits; and what the kernel's own files say about it. */

useOwnStateRoot();
const noStress = spawnSync('stress-ng', ['--version']).error ? 'stress-ng is not installed' : undefined;
const hogTest = needs(notRoot ?? noStress);
const stress = (...args: string[]): string[] => ['stress-ng', '--quiet', '--temp-path', '/tmp', ...args];

/**
 * Starts a hog, lets it run, and gives the text of the first of some files that its control groups have. They are those
 * of the command; the container's, which has the limits, is the directory above.
 */
async function withHog(
  spec: ContainerSpec,
  body: (kernel: (...files: string[]) => string, container: Container) => Promise<void>,
): Promise<void> {
  await using container = await Container.create(spec);
  await container.start();
  const directories = cgroupDirectories(container.pid!).toReversed(); // the v2 tree first
  await body((...files) => firstOf(directories, files), container);
}

function firstOf(directories: readonly string[], files: readonly string[]): string {
  for (const path of files.flatMap((file) => directories.map((directory) => join(directory, file)))) {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      // Of another version of cgroups, or another tree's.
    }
  }
  throw new Error(`none of ${files.join(', ')} beneath ${directories.join(', ')}`);
}

const numberIn = (text: string, key: string): number =>
  Number(new RegExp(`^${key} (\\d+)$`, 'm').exec(text)?.[1] ?? text.trim());

const deadlineMs = 60_000;

hogTest(
  'memory: what is in use stays below the limit, and who goes on is killed for it',
  async () => {
    const limits = { memory: '48MiB', memorySwap: '48MiB' };
    await withHog(
      { command: stress('--vm', '2', '--vm-bytes', '512M', '--vm-keep', '--timeout', '60'), limits },
      async (kernel, container) => {
        for (let kills = 0; kills < 2; await delay(50)) {
          kills = numberIn(kernel('memory.events', 'memory.oom_control'), 'oom_kill');
          expect(numberIn(kernel('memory.current', 'memory.usage_in_bytes'), '')).toBeLessThanOrEqual(48 * 2 ** 20);
        }
        expect((await container.stats()).memory?.maxBytes).toBe(48 * 2 ** 20);
      },
    );
    // Of the processes of stress-ng, not its first: the container lives until it gives up.
    expect(await run('tail', ['/dev/zero'], { limits })).toMatchObject({ reason: 'oom' });
  },
  deadlineMs,
);

hogTest(
  'cpu: a quarter is a quarter, and more when the limit is raised meanwhile',
  async () => {
    await withHog(
      { command: stress('--cpu', '2', '--timeout', '60'), limits: { cpus: 0.25 } },
      async (kernel, container) => {
        // A v2 tree counts in cpu.stat, also one without controllers.
        const usedUs = (): number => {
          const text = kernel('cpuacct.usage', 'cpu.stat');
          return /^\d/.test(text) ? Number(text) / 1_000 : numberIn(text, 'usage_usec');
        };
        const share = async (): Promise<number> => {
          const [begin, before] = [performance.now(), usedUs()];
          await delay(1_500);
          return (usedUs() - before) / 1_000 / (performance.now() - begin);
        };
        expect(await share()).toBeLessThan(0.4);
        const throttled = async () => (await container.stats()).cpu?.throttledPeriods ?? 0;
        expect(await eventually(async () => (await throttled()) > 2)).toBe(true);
        await container.update({ limits: { cpus: 1 } });
        expect(kernel('../cpu.max', '../cpu.cfs_quota_us')).toMatch(/^100000/);
        await container.update({ limits: { cpus: 0.05 } });
        expect(await share()).toBeLessThan(0.2);
      },
    );
  },
  deadlineMs,
);

hogTest(
  'processes: no more than the limit, also when all fork at once',
  async () => {
    await withHog(
      { command: stress('--fork', '16', '--fork-max', '16', '--timeout', '60'), limits: { pids: 24 } },
      async (kernel, container) => {
        // Counted where the fork was made; since 6.11, where the limit is.
        const refusals = (): number =>
          numberIn(kernel('pids.events'), 'max') + numberIn(kernel('../pids.events'), 'max');
        for (; refusals() === 0; await delay(20)) {
          // The kernel counts a process before it refuses it, one at a time on each cpu.
          expect(Number(kernel('pids.current'))).toBeLessThanOrEqual(24 + availableParallelism());
        }
        const { pids } = await container.stats();
        expect(pids?.max).toBe(24);
        expect(pids?.refused).toBeGreaterThan(0);
        await container.kill();
      },
    );
  },
  deadlineMs,
);

const disk = process.env.NS_TEST_DIR ?? tmpdir();

// tmpfs and overlay are on no block device: their major number is 0.
const noDisk = statSync(disk).dev >>> 8 === 0 ? `${disk} is on no disk` : undefined;

needs(notRoot ?? noStress ?? noDisk)(
  'io: bytes reach the device at the rate of the limit',
  async () => {
    // stress-ng, when it is killed, leaves a directory behind over which the next one stumbles.
    const directory = mkdtempSync(join(disk, 'ns-hog-'));
    using _removal = { [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }) };
    await withHog(
      {
        command: stress('--hdd', '1', '--hdd-bytes', '64M', '--hdd-opts', 'direct', '--timeout', '60'),
        mounts: [{ type: 'bind', source: directory, target: '/tmp' }],
        limits: { io: [{ device: disk, writeBps: '2MiB' }] },
      },
      async (kernel, container) => {
        const device = /^\d+:\d+/m.exec(kernel('../io.max', 'blkio.throttle.write_bps_device'))![0];
        const written = (): number => {
          const text = kernel('io.stat', 'blkio.throttle.io_service_bytes_recursive');
          return Number(new RegExp(`^${device} (?:.*wbytes=|Write )(\\d+)`, 'm').exec(text)?.[1] ?? 0);
        };
        while (written() === 0) await delay(50);
        const [begin, before] = [performance.now(), written()];
        await delay(2_000);
        const rate = (written() - before) / ((performance.now() - begin) / 1_000);
        expect(rate).toBeLessThan(4 * 2 ** 20);
        expect((await container.stats()).io?.devices[device]?.writeBytes).toBeGreaterThan(0);
        await container.kill();
      },
    );
  },
  deadlineMs,
);

needs(notRoot)(
  'verdicts of many at once: out of memory, killed by somebody, and merely 137',
  async () => {
    const limits = { memory: '24MiB', memorySwap: '24MiB' };
    const kinds = [
      { reason: 'oom', start: () => run('tail', ['/dev/zero'], { limits }) },
      { reason: 'exit', start: () => run('sh', ['-c', 'sleep 0.2; exit 137'], { limits }) },
      { reason: 'oom', start: () => run('tail', ['/dev/zero'], { limits }) },
      {
        reason: 'signal',
        start: () => {
          const process = run('sleep', ['600'], { limits });
          process.started.then(() => process.kill('SIGKILL'));
          return process;
        },
      },
    ];
    const wanted = Array.from({ length: 20 }, (_, index) => kinds[index % kinds.length]!);
    const results = await Promise.all(wanted.map(({ start }) => start()));
    expect(results.map(({ reason }) => reason)).toEqual(wanted.map(({ reason }) => reason));
  },
  deadlineMs,
);

needs(notRoot)(
  'of commands in one container as well, and whose child it was is no matter',
  async () => {
    await using container = await Container.create({
      command: ['sleep', '600'],
      limits: { memory: '96MiB', memorySwap: '96MiB' },
    });
    await container.start();
    const byHand = () => {
      const command = container.exec('sleep', ['600']);
      command.started.then(() => process.kill(command.pid!, 'SIGKILL'));
      return command;
    };
    const kinds = [
      ['oom', () => container.exec('tail', ['/dev/zero'])],
      ['exit', () => container.exec('sh', ['-c', 'sleep 0.2; exit 137'])],
      ['signal', byHand],
      ['oom', () => container.exec('sh', ['-c', 'tail /dev/zero; exit 3'])],
      ['exit', () => container.exec('sh', ['-c', 'tail /dev/zero; exit 0'])],
    ] as const;
    // The limit is that of all: who is killed for it is whoever has most, and those have next to nothing.
    for (let round = 0; round < 2; round++) {
      const results = await Promise.all(kinds.map(([, start]) => start()));
      expect(results.map(({ reason }) => reason)).toEqual(kinds.map(([reason]) => reason));
    }
    expect(container.status).toBe('running');
  },
  deadlineMs,
);
