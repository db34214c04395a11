// Renders a result as Markdown: node bench/dist/render.js [RESULT.json] > bench/RESULTS.md
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Findings, Table } from './benchmark.ts';
import type { Report } from './report.ts';

/** The whole report. */
function renderReport({ date, command, machine, benchmarks }: Report): string {
  const { kernel, cpu, cpus, memoryGiB, distribution, node, loadBefore, peers } = machine;
  return [
    '# Results',
    `Measured ${date.slice(0, 10)} with \`${command}\`: Linux ${kernel}, ${distribution}, ${cpus} CPUs (${cpu}), ${memoryGiB} GiB, Node ${node}, ${Object.values(peers).join(', ')}. Load before: ${loadBefore.toFixed(2)}. Compare ratios, not milliseconds. This file is made by \`bench/dist/render.js\`.`,
    renderTargets(benchmarks),
    ...benchmarks.map((findings) => `## ${findings.title}\n\n${renderFindings(findings)}`),
  ]
    .filter((part) => part !== '')
    .join('\n\n')
    .concat('\n');
}

/** One benchmark. */
export function renderFindings({ tables, notes = [] }: Findings): string {
  return [...tables.map(renderTable), ...notes].join('\n\n');
}

function renderTargets(benchmarks: readonly Findings[]): string {
  const targets = benchmarks.flatMap((findings) => findings.targets ?? []);
  if (targets.length === 0) return '';
  return `## Targets\n\n${renderRows(
    ['', 'at most', 'measured', ''],
    targets.map(({ what, limit, measured }) => [
      what,
      String(limit),
      measured.toFixed(2),
      measured <= limit ? 'met' : `missed by ${Math.round((measured / limit - 1) * 100)}%`,
    ]),
  )}`;
}

function renderTable({ title, columns, rows }: Table): string {
  const cells = rows.map((row) =>
    row.map((cell, i) =>
      typeof cell === 'number' ? cell.toFixed(columns[i]?.decimals ?? 2) : (cell ?? 'not measured'),
    ),
  );
  return `**${title}**\n\n${renderRows(
    columns.map(({ label }) => label),
    cells,
  )}`;
}

function renderRows(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const results = new URL('../results/', import.meta.url);
  const path = process.argv[2] ?? new URL(readdirSync(results).sort().at(-1)!, results);
  process.stdout.write(renderReport(JSON.parse(readFileSync(path, 'utf8')) as Report));
}
