// What bench/src/main.ts starts: runs the benchmark whose name it is given, and sends what it finds.
import type { Benchmark, Findings } from './benchmark.ts';

/** What the process sends. */
export interface SuiteReport {
  readonly title: string;
  readonly findings: Findings;
}

const [name] = process.argv.slice(2);
const { benchmark } = (await import(new URL(`${name}.js`, import.meta.url).href)) as { benchmark: Benchmark };
const findings = await benchmark.run();
process.send!({ title: benchmark.title, findings } satisfies SuiteReport);
process.disconnect();
