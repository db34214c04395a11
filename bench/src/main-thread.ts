import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '@ns/core';
import type { Benchmark } from './benchmark.ts';
import { percentile } from './percentiles.ts';

const WARM_UP = 300;
const STARTS = 500;
const PAUSE_MS = 10;

/** How long a start keeps Node from doing anything else. */
export const benchmark: Benchmark = {
  title: 'Main thread held per start',
  async run() {
    for (let i = 0; i < WARM_UP; i++) await run('/bin/true');
    const callMs: number[] = [];
    const loopMs: number[] = [];
    for (let i = 0; i < STARTS; i++) {
      await sleep(PAUSE_MS);
      // The longest turn of the event loop between the call and its result, of which the call is a part. The monitor
      // ticks every millisecond and counts from there: the tick itself is taken off.
      const delay = monitorEventLoopDelay({ resolution: 1 });
      delay.enable();
      const before = performance.now();
      const process = run('/bin/true');
      callMs.push(performance.now() - before);
      await process;
      delay.disable();
      if (delay.count > 0) loopMs.push(Math.max(0, delay.max / 1e6 - 1));
    }
    const row = (name: string, samples: readonly number[]) => [
      name,
      ...[0.5, 0.95, 0.99, 1].map((share) => percentile(samples, share)),
    ];
    return {
      tables: [
        {
          title: `Milliseconds, ${STARTS} starts`,
          columns: [{ label: '' }, { label: 'p50' }, { label: 'p95' }, { label: 'p99' }, { label: 'most' }],
          rows: [row('the call to run()', callMs), row('longest turn of the event loop', loopMs)],
        },
      ],
      targets: [{ what: 'main thread held per start, p99, ms', limit: 1, measured: percentile(callMs, 0.99) }],
    };
  },
};
