// Runs the tests: node scripts/test.mjs [--unit | --root] [--vm] [arguments of jest]
// With --vm those that need another kernel than this machine's run too, in a virtual machine.
// The last line is "N passed, N failed, N skipped"; a leak counts as a failure.
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readReport, skippedTests } from './jest-report.mjs';
import { leaksSince, snapshot } from './leaks.mjs';

/** Exit status of scripts/vm/run.mjs. */
const NO_MACHINE = 126;

const root = fileURLToPath(new URL('..', import.meta.url));
const jestArguments = process.argv.slice(2);
const projects = ['unit', 'root'].filter((project) => !takeFlag(`--${project === 'unit' ? 'root' : 'unit'}`));
const withVm = takeFlag('--vm');

/** What the virtual machine runs: cgroup v2 under a real systemd, AppArmor, pressure, project quota, and limits end to end. */
const vmPatterns = [
  // But for what takes long under emulation and differs little: that is for the release check.
  'packages/cgroups/test/(?!hostile-children)',
  'packages/lsm/test/apparmor',
  'packages/core/test/(systemd-scope|hogs|visible-cgroup|project-quota)',
];
const vmMinutes = 18;

const scratch = mkdtempSync(join(tmpdir(), 'ns-test-'));
const stateRoot = join(scratch, 'state');
const temporary = join(scratch, 'tmp');
for (const directory of [scratch, stateRoot, temporary]) mkdirSync(directory, { recursive: true });
// Tests that become an ordinary user need their temporary files too, as /tmp offers.
chmodSync(scratch, 0o755);
chmodSync(temporary, 0o1777);

const environment = testEnvironment();
const total = { passed: 0, failed: 0, skipped: 0 };
const before = snapshot();
try {
  for (const project of projects) add(await runProject(project));
  if (withVm) add(await runVm());
  const leaks = [...(await leaksSince(before, scratch)), ...leftFiles()];
  if (leaks.length > 0) {
    console.error(`\nThe tests left behind:\n${leaks.map((leak) => `  ${leak}`).join('\n')}`);
    total.failed += 1;
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 ? 1 : 0;

/** Runs one project of jest.config.ts; its counts. */
async function runProject(project) {
  const report = join(scratch, `${project}.json`);
  console.log(`\n== ${project} tests`);
  const child = spawn(
    process.execPath,
    [
      '--experimental-vm-modules',
      '--no-warnings',
      'node_modules/jest/bin/jest.js',
      ...['--selectProjects', project],
      // Unit tests change nothing outside themselves, so their workers need not be replaced after each file.
      ...(project === 'unit' ? ['--workerIdleMemoryLimit=1GB'] : ['--maxWorkers=2']),
      ...['--passWithNoTests', '--json', `--outputFile=${report}`],
      ...jestArguments,
    ],
    // Jest writes its readable report to stderr; its stdout is the JSON that is in the file as well.
    { cwd: root, env: environment, stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const status = await new Promise((resolve) => child.once('close', resolve));
  return countsOf(report, status);
}

/** Runs what is for the virtual machine; its counts. A machine that cannot be made is one skip. */
async function runVm() {
  console.log('\n== tests in a virtual machine: cgroup v2, systemd, AppArmor');
  if (process.arch !== 'x64' || process.geteuid() !== 0) return skipVm('it needs root on x86_64');
  const report = join(scratch, 'vm.json');
  const options = ['--init', 'systemd', '--timeout-min', `${vmMinutes}`, '--report', report];
  const started = performance.now();
  const child = spawn(process.execPath, ['scripts/vm/run.mjs', ...options, ...vmPatterns], {
    cwd: root,
    env: { ...environment, NS_ALLOWED_SKIPS: allowedSkips('scripts/vm/allowed-skips.txt') },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const status = await new Promise((resolve) => child.once('close', resolve));
  console.log(`the virtual machine took ${Math.round((performance.now() - started) / 1_000)} s`);
  return status === NO_MACHINE ? skipVm('its packages cannot be had') : countsOf(report, status);
}

/** Not a failure under MUST_WORK=1 either: it says something of the machine's package sources, nothing of the library. */
function skipVm(why) {
  console.log(`skipped: all tests in the virtual machine: ${why}`);
  return { passed: 0, failed: 0, skipped: 1 };
}

/** Counts of a report that Jest wrote, or would have. */
function countsOf(report, status) {
  const result = readReport(report);
  if (!result) return { passed: 0, failed: 1, skipped: 0 };
  for (const name of skippedTests(result)) console.log(`skipped: ${name}`);
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  return {
    passed: result.numPassedTests,
    // Jest can fail without a failing test: a worker that died, a snapshot that nobody uses.
    failed: failed === 0 && status !== 0 ? 1 : failed,
    skipped: result.numPendingTests + result.numTodoTests,
  };
}

function testEnvironment() {
  // Extra certificates cost 125 ms of CPU at every start of Node 20.
  const { NODE_EXTRA_CA_CERTS, ...inherited } = process.env;
  return {
    ...inherited,
    // An ordinary user's PATH lacks the places of ip, nft and capsh.
    PATH: `${inherited.PATH}:/usr/local/sbin:/usr/sbin:/sbin`,
    NS_STATE_ROOT: stateRoot,
    NS_ALLOWED_SKIPS: allowedSkips('scripts/allowed-skips.txt'),
    TMPDIR: temporary,
  };
}

/** The reasons of a file, as tests take them. */
function allowedSkips(file) {
  const lines = readFileSync(join(root, file), 'utf8').split('\n');
  return lines.filter((line) => line !== '' && !line.startsWith('#')).join('|');
}

/** Files the tests made and did not remove. The state root keeps its empty directories and lock files. */
function leftFiles() {
  const state = readdirSync(stateRoot, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.name !== 'lock' && (!entry.isDirectory() || entry.parentPath !== stateRoot))
    .map((entry) => join(entry.parentPath, entry.name));
  const files = readdirSync(temporary).map((name) => join(temporary, name));
  return [...state, ...files].map((path) => `file: ${path}`);
}

function add(counts) {
  for (const key of Object.keys(total)) total[key] += counts[key];
}

/** Removes a flag from the arguments meant for jest; whether it was there. */
function takeFlag(flag) {
  const at = jestArguments.indexOf(flag);
  if (at >= 0) jestArguments.splice(at, 1);
  return at >= 0;
}
