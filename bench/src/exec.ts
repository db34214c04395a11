import { setTimeout as sleep } from 'node:timers/promises';
import { Container } from '@ns/core';
import type { Benchmark, Table, Target } from './benchmark.ts';
import { type Contender, contender, installed } from './contenders.ts';
import { execPeers } from './idle-containers.ts';
import { median, percentile } from './percentiles.ts';

const ROUNDS = 100;
/** Long enough for the kernel to have forgotten the move into a cgroup before. */
const PAUSE_MS = 30;
const PARALLEL = 200;

/** A command in a container that runs already. */
export const benchmark: Benchmark = {
  title: 'exec: /bin/true in a running container',
  async run() {
    await using container = await Container.create({ command: ['sleep', '600'] });
    await container.start();
    const library = execOf(container);
    const enter = [installed('nsenter')!, '--target', String(container.pid), '--all', '/bin/true'];
    using nsenter = contender('nsenter', enter);
    const { peers, docker } = await execPeers();
    const contenders = [library, nsenter, ...peers];
    try {
      for (const one of contenders) await one.measure(one === library ? 100 : 3);
      const samples = await inAlternation(contenders);
      const seconds = await manyAtOnce(container);
      return {
        tables: [timesTable(samples, library), manyTable(seconds)],
        targets: targetsOf(samples, library),
        notes: [...notes, ...(typeof docker === 'string' ? [`${docker}.`] : [])],
      };
    } finally {
      for (const one of peers) one[Symbol.dispose]();
      if (typeof docker !== 'string') await docker.stop();
    }
  },
};

/** Milliseconds of each run. */
type Samples = ReadonlyMap<Contender, readonly number[]>;

function execOf(container: Container): Contender {
  return {
    name: 'exec()',
    async measure(runs) {
      const runsMs: number[] = [];
      const begin = performance.now();
      for (let i = 0; i < runs; i++) {
        const before = performance.now();
        const { exitCode } = await container.exec('/bin/true');
        if (exitCode !== 0) throw new Error(`/bin/true ended with ${exitCode}`);
        runsMs.push(performance.now() - before);
      }
      return { runsMs, totalMs: performance.now() - begin };
    },
    [Symbol.dispose]() {},
  };
}

async function inAlternation(contenders: readonly Contender[]): Promise<Samples> {
  const samples = new Map(contenders.map((one) => [one, [] as number[]]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const one of contenders) {
      // The slow ones need fewer rounds for a median.
      if (one.name === 'docker exec' && round % 10 > 0) continue;
      await sleep(PAUSE_MS);
      samples.get(one)!.push(...(await one.measure(1)).runsMs);
    }
  }
  return samples;
}

/** How many seconds they take. */
async function manyAtOnce(container: Container): Promise<number> {
  const begin = performance.now();
  const results = await Promise.all(Array.from({ length: PARALLEL }, () => container.exec('/bin/true')));
  const seconds = (performance.now() - begin) / 1000;
  if (results.some(({ exitCode }) => exitCode !== 0)) throw new Error('one of many did not succeed');
  return seconds;
}

function timesTable(samples: Samples, library: Contender): Table {
  const ours = median(samples.get(library)!);
  const labels = ['', 'p50 ms', 'p95 ms', 'least ms', 'exec() / this'];
  return {
    title: `${PAUSE_MS} ms of rest before each`,
    columns: labels.map((label) => ({ label })),
    rows: [...samples].map(([{ name }, times]) => {
      const p50 = median(times);
      return [name, p50, percentile(times, 0.95), percentile(times, 0), ours / p50];
    }),
  };
}

function manyTable(seconds: number): Table {
  return {
    title: `${PARALLEL} at once in one container`,
    columns: [{ label: '' }, { label: 'all ended, s' }, { label: 'a second', decimals: 0 }],
    rows: [['exec()', seconds, PARALLEL / seconds]],
  };
}

function targetsOf(samples: Samples, library: Contender): Target[] {
  const ours = median(samples.get(library)!);
  return [...samples].flatMap(([{ name }, times]): Target[] => {
    const limit = limits[name];
    return limit === undefined ? [] : [{ what: `exec() / ${name}`, limit, measured: ours / median(times) }];
  });
}

const limits: Readonly<Record<string, number>> = { nsenter: 1.3, 'crun exec': 0.2 };

const notes = [
  'exec() is timed in Node, from the call to the settled promise; the others by a C program that does what their caller would have to.',
  'nsenter joins the namespaces of the same container and nothing else: no cgroup, no seccomp filter, no change of privileges, and nothing watches what it leaves behind.',
  "crun and runc execute a static program, in a container with Docker's seccomp profile.",
];
