/* npm run test:release [-- [--list] [--from MACHINE] [--only TEXT…] [--again] [pattern…]]

   Every root test in virtual machines of several kinds, one after the other: what CI has no time for. Hours under emulation,
   so it can be done in parts: `--from` begins with a machine of the list, `--only` takes those whose name contains a text, a
   pattern those files whose path matches. What passed on this commit is not run again, but for `--again`. Ends with a table,
   which is also written to RESULTS.md here, and with 1 unless every file asked for has passed on this commit. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { releasePlan } from './release-plan.mjs';
import { ReleaseResults } from './release-results.mjs';
import { renderResults } from './release-table.mjs';

const timeoutMinutes = 90;
const root = resolve(import.meta.dirname, '../..');
const run = join(import.meta.dirname, 'run.mjs');
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: 'boolean', default: false },
    from: { type: 'string' },
    only: { type: 'string', multiple: true, default: [''] },
    again: { type: 'boolean', default: false },
  },
});

const plan = releasePlan(root);
const wanted = select(plan);
if (values.list) {
  for (const { name, files } of wanted) console.log(`${name}\n${files.map((file) => `  ${file}`).join('\n')}`);
  process.exit();
}

mkdirSync(join(root, '.vm'), { recursive: true });
const results = new ReleaseResults(join(root, '.vm/release.json'));
const commit = currentCommit();
const hasPassed = (kind, file) => {
  const result = results.of(kind, file);
  return result?.commit === commit && result.failed === 0;
};

for (const machine of wanted) {
  const files = machine.files.filter((file) => values.again || !hasPassed(machine.kind, file));
  if (files.length > 0) runMachine({ ...machine, files });
}
const table = renderResults(plan, results);
writeFileSync(
  join(import.meta.dirname, 'RESULTS.md'),
  `# Results of the release check\n\nWhat \`npm run test:release\` has found, under emulation. This file is made by it.\n\n${table.trim()}\n`,
);
console.log(`\n${table}`);
const missing = wanted.flatMap(({ kind, files }) =>
  files.filter((file) => !hasPassed(kind, file)).map((file) => `${kind} ${file}`),
);
console.log(
  missing.length > 0
    ? `NOT PASSED on ${commit}:\n${missing.join('\n')}`
    : `All that was asked for passed on ${commit}.`,
);
process.exitCode = missing.length > 0 ? 1 : 0;

function select(machines) {
  const start = values.from === undefined ? 0 : machines.findIndex(({ name }) => name === values.from);
  if (start < 0) throw new Error(`--from: no machine is called ${values.from}; see --list`);
  const patterns = positionals.map((pattern) => new RegExp(pattern));
  return machines
    .slice(start)
    .filter(({ name }) => values.only.some((text) => name.includes(text)))
    .map((machine) => ({
      ...machine,
      files: machine.files.filter((file) => patterns.length === 0 || patterns.some((pattern) => pattern.test(file))),
    }))
    .filter(({ files }) => files.length > 0);
}

function runMachine(machine) {
  console.log(`\n== ${machine.name}: ${machine.files.length} files`);
  const started = performance.now();
  const scratch = mkdtempSync(join(tmpdir(), 'ns-release-'));
  try {
    const report = join(scratch, 'report.json');
    const options = [...machine.options, '--timeout-min', `${timeoutMinutes}`, '--report', report];
    spawnSync(process.execPath, [run, ...options, ...machine.files], { cwd: root, stdio: 'inherit' });
    results.add(machine, report, commit);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  console.log(`took ${Math.round((performance.now() - started) / 60_000)} minutes`);
}

/** What is checked; a tree with changes is none that could be released. */
function currentCommit() {
  const git = (...args) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
  const changes = git('status', '--porcelain', '--', '.', ':!scripts/vm/RESULTS.md');
  return `${git('rev-parse', '--short', 'HEAD')}${changes === '' ? '' : ' with changes'}`;
}
