import { setTimeout as sleep } from 'node:timers/promises';
import { Container } from '@ns/core';
import type { Benchmark, Target } from './benchmark.ts';
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
    const library: Contender = {
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
    using nsenter = contender('nsenter', [
      installed('nsenter')!,
      '--target',
      String(container.pid),
      '--all',
      '/bin/true',
    ]);
    const { peers, docker } = await execPeers();
    const contenders = [library, nsenter, ...peers];
    try {
      for (const one of contenders) await one.measure(one === library ? 100 : 3);
      const times = new Map(contenders.map((one) => [one, [] as number[]]));
      for (let round = 0; round < ROUNDS; round++) {
        for (const one of contenders) {
          // The slow ones need fewer rounds for a median.
          if (one.name === 'docker exec' && round % 10 > 0) continue;
          await sleep(PAUSE_MS);
          times.get(one)!.push(...(await one.measure(1)).runsMs);
        }
      }
      const begin = performance.now();
      const results = await Promise.all(Array.from({ length: PARALLEL }, () => container.exec('/bin/true')));
      const parallelSeconds = (performance.now() - begin) / 1000;
      if (results.some(({ exitCode }) => exitCode !== 0)) throw new Error('one of many did not succeed');
      const ours = median(times.get(library)!);
      return {
        tables: [
          {
            title: `${PAUSE_MS} ms of rest before each`,
            columns: [
              { label: '' },
              { label: 'p50 ms' },
              { label: 'p95 ms' },
              { label: 'least ms' },
              { label: 'exec() / this' },
            ],
            rows: contenders.map(({ name }, i) => {
              const samples = times.get(contenders[i]!)!;
              return [name, median(samples), percentile(samples, 0.95), percentile(samples, 0), ours / median(samples)];
            }),
          },
          {
            title: `${PARALLEL} at once in one container`,
            columns: [{ label: '' }, { label: 'all ended, s' }, { label: 'a second', decimals: 0 }],
            rows: [['exec()', parallelSeconds, PARALLEL / parallelSeconds]],
          },
        ],
        targets: contenders.flatMap((one): Target[] => {
          const limit = limits[one.name];
          if (limit === undefined) return [];
          return [{ what: `exec() / ${one.name}`, limit, measured: ours / median(times.get(one)!) }];
        }),
        notes: [
          'exec() is timed in Node, from the call to the settled promise; the others by a C program that does what their caller would have to.',
          'nsenter joins the namespaces of the same container and nothing else: no cgroup, no seccomp filter, no change of privileges, and nothing watches what it leaves behind.',
          "crun and runc execute a static program, in a container with Docker's seccomp profile.",
          ...(typeof docker === 'string' ? [`${docker}.`] : []),
        ],
      };
    } finally {
      for (const one of peers) one[Symbol.dispose]();
      if (typeof docker !== 'string') await docker.stop();
    }
  },
};

const limits: Readonly<Record<string, number>> = { nsenter: 1.3, 'crun exec': 0.2 };
