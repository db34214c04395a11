import { setTimeout as sleep } from 'node:timers/promises';
import type { Benchmark, Table, Target } from './benchmark.ts';
import { type Contender, floor, library, peers } from './contenders.ts';
import { median, percentile } from './percentiles.ts';

const ROUNDS = 100;
/** Long enough for the kernel to have cleared away the last container, and to have gone idle. */
const PAUSE_MS = 30;
const BACK_TO_BACK = 5;

/** From the call (or the start of the command) to the result, with both outputs read and everything gone. */
export const benchmark: Benchmark = {
  title: 'Start to exit of /bin/true',
  async run() {
    const contenders = [library, floor(), ...peers()];
    try {
      for (const contender of contenders) await contender.measure(contender === library ? 200 : 3);
      const spaced = await alternate(contenders, 1, PAUSE_MS);
      const backToBack = await alternate(contenders, BACK_TO_BACK, 0);
      return {
        tables: [
          timesTable(`Spaced: ${PAUSE_MS} ms of rest before each`, contenders, spaced),
          timesTable(`Back to back: ${BACK_TO_BACK} in a row`, contenders, backToBack),
        ],
        targets: [...targets('spaced', contenders, spaced), ...targets('back to back', contenders, backToBack)],
        notes: [
          'run() is timed in Node, from the call to the settled promise; the others by a C program that does what their caller would have to: pipes, posix_spawn, reading to the end, waitpid.',
          'bwrap shows the host read-only, has no seccomp filter, no limits and no init, and is gone before the kernel has taken its namespaces down.',
          'crun and runc run a static program from a directory, which costs less than the dynamic /bin/true the others run; they make a cgroup, which run() does only for limits.',
        ],
      };
    } finally {
      for (const contender of contenders) contender[Symbol.dispose]();
    }
  },
};

type Times = ReadonlyMap<Contender, readonly number[]>;

/** Each contender in turn, so that whatever else the machine does meets all alike. */
async function alternate(contenders: readonly Contender[], runs: number, pauseMs: number): Promise<Times> {
  const times = new Map(contenders.map((contender) => [contender, [] as number[]]));
  for (let round = 0; round < ROUNDS / runs; round++) {
    for (const contender of contenders) {
      if (pauseMs > 0) await sleep(pauseMs);
      times.get(contender)!.push(...(await contender.measure(runs)).runsMs);
    }
  }
  return times;
}

function timesTable(title: string, contenders: readonly Contender[], times: Times): Table {
  const ours = median(times.get(library)!);
  return {
    title,
    columns: [
      { label: '' },
      { label: 'p50 ms' },
      { label: 'p95 ms' },
      { label: 'least ms' },
      { label: 'run() / this' },
    ],
    rows: contenders.map((contender) => {
      const samples = times.get(contender)!;
      const p50 = median(samples);
      return [contender.name, p50, percentile(samples, 0.95), percentile(samples, 0), ours / p50];
    }),
  };
}

const limits: Readonly<Record<string, number>> = { 'C floor': 1.15, bwrap: 1, crun: 0.25, runc: 0.15 };

function targets(how: string, contenders: readonly Contender[], times: Times): Target[] {
  return contenders.flatMap((contender) => {
    const limit = limits[contender.name];
    if (limit === undefined) return [];
    const measured = median(times.get(library)!) / median(times.get(contender)!);
    return [{ what: `run() / ${contender.name}, ${how}`, limit, measured }];
  });
}
