import { setTimeout as sleep } from 'node:timers/promises';
import { Pool, run } from '@ns/core';
import type { Benchmark, Table } from './benchmark.ts';
import { median, percentile } from './percentiles.ts';
import { TimedCommand } from './timed-command.ts';

const SIZE = 8;
const PAUSE_MS = 15;
/** How often which command is run, spaced and in each way. */
const commands = [
  { name: '/bin/true', command: ['/bin/true'], rounds: 150 },
  { name: 'node -e 0', command: [process.execPath, '-e', '0'], rounds: 15 },
] as const;
const SUSTAINED = 200;

/** A command in a sandbox that was made in advance: from the claim to the settled result. */
export const benchmark: Benchmark = {
  title: 'Pool: claim to exit',
  async run() {
    const pool = await Pool.create({ size: SIZE });
    try {
      // Both kinds of start and their parts of Node are warm then.
      for (let i = 0; i < 200; i++) await succeed(pool.run('/bin/true'));
      for (let i = 0; i < 100; i++) await succeed(run('/bin/true'));
      const tables: Table[] = [];
      const medians = new Map<string, number>();
      for (const { name, command, rounds } of commands) {
        const times = await alternate(pool, command, rounds);
        for (const [who, samples] of times) medians.set(`${who} ${name}`, median(samples));
        tables.push({
          title: `${name}, ${PAUSE_MS} ms of rest before each`,
          columns: [{ label: '' }, { label: 'p50 ms' }, { label: 'p95 ms' }, { label: 'least ms' }],
          rows: [...times].map(([who, samples]) => [
            who,
            median(samples),
            percentile(samples, 0.95),
            percentile(samples, 0),
          ]),
        });
      }
      tables.push({
        title: `/bin/true without a rest, ${SUSTAINED} in all: each claim waits for a sandbox to be made`,
        columns: [{ label: '' }, { label: 'a second', decimals: 0 }],
        rows: [
          ['pool.run(), one after the other', await sustained(pool, 1)],
          [`pool.run(), ${SIZE} at a time`, await sustained(pool, SIZE)],
        ],
      });
      return {
        tables,
        targets: [
          { what: 'claim to exit of /bin/true, p50, ms', limit: 1.5, measured: medians.get('pool.run() /bin/true')! },
        ],
        notes: [
          `A pool of ${SIZE} sandboxes with the full default isolation; spaced, it is full again before the next claim.`,
          '"The command alone" has no isolation at all: a C program that starts it by posix_spawn, reads both outputs to their end and waits for it.',
        ],
      };
    } finally {
      await pool.close();
    }
  },
};

async function alternate(pool: Pool, command: readonly string[], rounds: number): Promise<Map<string, number[]>> {
  using alone = new TimedCommand(command);
  const [first, ...rest] = command as [string, ...string[]];
  const ways: Readonly<Record<string, () => Promise<number>>> = {
    'pool.run()': async () => {
      await pool.settled();
      await sleep(PAUSE_MS);
      return timed(() => pool.run(first, rest));
    },
    'run()': async () => {
      await sleep(PAUSE_MS);
      return timed(() => run(first, rest));
    },
    'the command alone': async () => {
      await sleep(PAUSE_MS);
      return (await alone.measure(1)).runsMs[0]!;
    },
  };
  const times = new Map(Object.keys(ways).map((name) => [name, [] as number[]]));
  for (let round = 0; round < rounds; round++)
    for (const [name, measure] of Object.entries(ways)) times.get(name)!.push(await measure());
  return times;
}

async function timed(act: () => PromiseLike<{ exitCode: number | null }>): Promise<number> {
  const before = performance.now();
  await succeed(act());
  return performance.now() - before;
}

async function succeed(result: PromiseLike<{ exitCode: number | null }>): Promise<void> {
  const { exitCode } = await result;
  if (exitCode !== 0) throw new Error(`the command ended with ${exitCode}`);
}

/** Commands per second. */
async function sustained(pool: Pool, parallel: number): Promise<number> {
  const begin = performance.now();
  let started = 0;
  const worker = async () => {
    while (started++ < SUSTAINED) await succeed(pool.run('/bin/true'));
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  return (SUSTAINED / (performance.now() - begin)) * 1000;
}
