import type { Benchmark } from './benchmark.ts';
import { type Contender, floor, library, peers } from './contenders.ts';
import { median } from './percentiles.ts';

const ROUNDS = 3;
const PARALLEL = [1, 8, 64];
/** About a second each. */
const RUNS: Readonly<Record<string, number>> = { crun: 32, runc: 32 };

/** Containers per second. */
export const benchmark: Benchmark = {
  title: 'Containers per second',
  async run() {
    const contenders = [library, floor(), ...peers()];
    try {
      const seconds = new Map<Contender, number[][]>(contenders.map((c) => [c, PARALLEL.map(() => [])]));
      await library.measure(200);
      for (let round = 0; round < ROUNDS; round++) {
        for (const [i, parallel] of PARALLEL.entries()) {
          for (const contender of contenders) {
            const runs = Math.max(parallel, RUNS[contender.name] ?? 192);
            const { totalMs } = await contender.measure(runs, parallel);
            seconds.get(contender)![i]!.push((runs / totalMs) * 1000);
          }
        }
      }
      return {
        tables: [
          {
            title: `Median of ${ROUNDS} rounds in alternation`,
            columns: [{ label: '' }, ...PARALLEL.map((n) => ({ label: `${n} at a time`, decimals: 0 }))],
            rows: contenders.map((contender) => [contender.name, ...seconds.get(contender)!.map(median)]),
          },
        ],
      };
    } finally {
      for (const contender of contenders) contender[Symbol.dispose]();
    }
  },
};
