import type { Findings } from './benchmark.ts';
import type { Machine } from './machine.ts';

/** One run of `npm run bench`, as it is written to `bench/results`. */
export interface Report {
  readonly date: string;
  readonly command: string;
  readonly machine: Machine;
  readonly benchmarks: readonly ({ readonly name: string; readonly title: string } & Findings)[];
}
