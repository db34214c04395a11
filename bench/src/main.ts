// npm run bench [-- NAME...]: runs the benchmarks, prints what they find and writes it to bench/results.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { removeLeftoverCgroups } from './leftover-cgroups.ts';
import { describeMachine } from './machine.ts';
import { renderFindings } from './render.ts';
import type { Report } from './report.ts';
import type { SuiteReport } from './suite.ts';

// The main thread first: what the others leave for the kernel to do disturbs its slowest hundredth most.
const names = [
  'main-thread',
  'start',
  'parallel',
  'memory',
  'alive',
  'calls',
  'pool',
  'exec',
  'output',
  'server',
  'seccomp',
  'cgroups',
  'overlayfs',
  'network',
  'network-throughput',
];

/** What a benchmark leaves for the kernel to take down shall not be in the figures of the next. */
const REST_MS = 3_000;

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`No such benchmark: ${unknown.join(', ')}. There are ${names.join(', ')}.`);
  process.exit(2);
}
if (process.geteuid!() !== 0) {
  console.error('The benchmarks make containers with all namespaces but user: run them as root.');
  process.exit(2);
}

const machine = describeMachine();
const date = new Date().toISOString();
const results = new URL('../results/', import.meta.url);
const file = new URL(`${date.replace(/[:.]/g, '-')}.json`, results);
mkdirSync(results, { recursive: true });

const benchmarks: Report['benchmarks'][number][] = [];
for (const name of wanted.length > 0 ? wanted : names) {
  await sleep(REST_MS);
  const suite = await runSuite(name);
  // The others' figures are worth having all the same.
  if (!suite) {
    process.exitCode = 1;
    continue;
  }
  const { title, findings } = suite;
  benchmarks.push({ name, title, ...findings });
  console.log(`\n## ${title}\n\n${renderFindings(findings)}\n`);
  for (const { what, limit, measured } of findings.targets ?? [])
    console.log(`${measured <= limit ? 'met   ' : 'MISSED'}  ${what}: ${measured.toFixed(2)} of at most ${limit}`);
}

const command = ['npm run bench', ...(wanted.length > 0 ? ['--', ...wanted] : [])].join(' ');
const report: Report = { date, command, machine, benchmarks };
writeFileSync(file, `${JSON.stringify(report, undefined, 2)}\n`);
console.log(`\nWritten to ${fileURLToPath(file)}`);

/** In a process of its own: what one benchmark leaves in a heap is not in the figures of the next. */
async function runSuite(name: string): Promise<SuiteReport | undefined> {
  const suite = fork(fileURLToPath(new URL('suite.js', import.meta.url)), [name], { serialization: 'advanced' });
  let report: SuiteReport | undefined;
  suite.once('message', (message) => {
    report = message as SuiteReport;
  });
  const [code] = await once(suite, 'exit');
  const stuck = await removeLeftoverCgroups(suite.pid!);
  if (stuck.length > 0) console.error(`${name} has left ${stuck.join(', ')}`);
  if (code !== 0) console.error(`${name} failed`);
  return code === 0 ? report : undefined;
}
