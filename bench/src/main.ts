// npm run bench [-- NAME...]: runs the benchmarks, prints what they find and writes it to bench/results.
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Benchmark, Findings } from './benchmark.ts';
import { describeMachine } from './machine.ts';
import { renderFindings } from './render.ts';
import type { Report } from './report.ts';

const names = [
  'start',
  'main-thread',
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
  const { benchmark } = (await import(new URL(`${name}.js`, import.meta.url).href)) as { benchmark: Benchmark };
  let findings: Findings;
  try {
    findings = await benchmark.run();
  } catch (error) {
    // The others' figures are worth having all the same.
    console.error(`\n## ${benchmark.title}\n\n`, error);
    process.exitCode = 1;
    continue;
  }
  benchmarks.push({ name, title: benchmark.title, ...findings });
  console.log(`\n## ${benchmark.title}\n\n${renderFindings(findings)}\n`);
  for (const { what, limit, measured } of findings.targets ?? [])
    console.log(`${measured <= limit ? 'met   ' : 'MISSED'}  ${what}: ${measured.toFixed(2)} of at most ${limit}`);
}

const command = ['npm run bench', ...(wanted.length > 0 ? ['--', ...wanted] : [])].join(' ');
const report: Report = { date, command, machine, benchmarks };
writeFileSync(file, `${JSON.stringify(report, undefined, 2)}\n`);
console.log(`\nWritten to ${fileURLToPath(file)}`);
