// Runs the tests: node scripts/test.mjs [--unit | --root] [arguments of jest]
// The last line is "N passed, N failed, N skipped"; a leak counts as a failure.
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { leaksSince, snapshot } from './leaks.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const jestArguments = process.argv.slice(2);
const projects = ['unit', 'root'].filter((project) => !takeFlag(`--${project === 'unit' ? 'root' : 'unit'}`));

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
  if (!existsSync(report)) return { passed: 0, failed: 1, skipped: 0 };
  const result = JSON.parse(readFileSync(report, 'utf8'));
  for (const name of skippedTests(result)) console.log(`skipped: ${name}`);
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  return {
    passed: result.numPassedTests,
    // Jest can fail without a failing test: a worker that died, a snapshot that nobody uses.
    failed: failed === 0 && status !== 0 ? 1 : failed,
    skipped: result.numPendingTests + result.numTodoTests,
  };
}

/** Names of the tests that were skipped; each ends with its reason. */
function skippedTests({ testResults }) {
  return testResults.flatMap((file) =>
    file.assertionResults.filter((test) => test.status === 'pending').map((test) => test.fullName),
  );
}

function testEnvironment() {
  // Extra certificates cost 125 ms of CPU at every start of Node 20.
  const { NODE_EXTRA_CA_CERTS, ...inherited } = process.env;
  const allowedSkips = readFileSync(join(root, 'scripts/allowed-skips.txt'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  return {
    ...inherited,
    // An ordinary user's PATH lacks the places of ip, nft and capsh.
    PATH: `${inherited.PATH}:/usr/local/sbin:/usr/sbin:/sbin`,
    NS_STATE_ROOT: stateRoot,
    NS_ALLOWED_SKIPS: allowedSkips.join('|'),
    TMPDIR: temporary,
  };
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
