import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Benchmark, Table } from './benchmark.ts';
import { turnsEnvironment } from './event-loop-turns.ts';
import type { HeldReport, HeldSamples } from './main-thread-starts.ts';
import { percentile } from './percentiles.ts';

/** How long a start keeps Node from doing anything else. */
export const benchmark: Benchmark = {
  title: 'Main thread held per start',
  async run() {
    const { young, old, counts } = await measureStarts();
    const { warmUp, starts, more, atOnce } = counts;
    const longest = [young, old].map(({ longestTurn }) => percentile(longestTurn, 0.99));
    return {
      tables: [
        table(`Milliseconds, ${starts} starts in a process that has made ${warmUp}`, young),
        table(`The same in the same process, after ${more} starts more, ${atOnce} at a time`, old),
      ],
      // The call is part of a turn, which is never shorter.
      targets: [{ what: 'main thread held per start, p99, ms', limit: 1, measured: Math.max(...longest) }],
      notes: [
        'A turn is what the event loop does between hearing what is ready and asking again; a start has several, up to the next start. It is timed exactly, between libuv and epoll_pwait(2): bench/c/turns.c. The first turn of a start counts from the call to run(), which is part of it.',
        'Wall-clock time is what a service loses. Where it exceeds processor time, other processes had the processor, those of the container among them.',
        'monitorEventLoopDelay, nothing subtracted, in rounds of its own: it measures from one tick of a 1 ms timer to the next, and libuv fires timers at whole milliseconds of its clock. So it reports what stands in its idle row without anything being held, and can tell nothing below that; it is no part of the target.',
        'Measured in a process of its own, as every benchmark is: a service has other things in its heap, and their collection is not in these figures.',
      ],
    };
  },
};

async function measureStarts(): Promise<HeldReport> {
  const directory = mkdtempSync('/dev/shm/ns-bench-turns-');
  try {
    const child = fork(fileURLToPath(new URL('main-thread-starts.js', import.meta.url)), {
      env: { ...process.env, ...turnsEnvironment(join(directory, 'turns')) },
    });
    const failed = once(child, 'exit').then(([code]) => {
      throw new Error(`the process that makes the starts ended with ${code}`);
    });
    const [report] = await Promise.race([once(child, 'message'), failed]);
    failed.catch(() => {});
    return report as HeldReport;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function table(title: string, samples: HeldSamples): Table {
  const row = (name: string, times: readonly number[]) => [
    name,
    ...[0.5, 0.95, 0.99, 1].map((share) => percentile(times, share)),
  ];
  return {
    title,
    columns: [{ label: '' }, { label: 'p50' }, { label: 'p95' }, { label: 'p99' }, { label: 'most' }],
    rows: [
      row('the call to run()', samples.call),
      row('longest turn of the event loop', samples.longestTurn),
      row('processor time of the longest', samples.longestTurnCpu),
      row('all turns of a start', samples.turns),
      row('longest turn, idle', samples.idleTurn),
      row('monitorEventLoopDelay', samples.delay),
      row('monitorEventLoopDelay, idle', samples.idleDelay),
    ],
  };
}
