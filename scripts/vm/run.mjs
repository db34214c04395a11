/* npm run test:vm [-- [--kernel 6.12] [--cgroups v1] [--init systemd] [--timeout-min 30] [--report FILE] [--command 'shell text'] [pattern…]]

   Boots a virtual machine under software emulation with a Debian kernel, full cgroup v2 and AppArmor, on the root file
   system of this machine (read-only, changes go to a tmpfs), and runs the root tests whose path matches a pattern. Its
   output is ours, its exit code is ours; the report is Jest's, as JSON. 126 says that no machine could be made here. Do not edit files meanwhile: the machine caches what it knows of them. */
import { execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { boot } from './boot.mjs';
import { initramfs } from './initramfs.mjs';
import { ensureKernel, kernelNames } from './kernel.mjs';
import { ensurePackages } from './packages.mjs';

const root = resolve(import.meta.dirname, '../..');
const cache = join(root, '.vm');

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    kernel: { type: 'string', default: '6.1' },
    cgroups: { type: 'string', default: 'v2' },
    init: { type: 'string', default: 'sh' },
    'timeout-min': { type: 'string', default: '30' },
    report: { type: 'string' },
    command: { type: 'string' },
    append: { type: 'string', default: '' },
  },
});
const choices = { kernel: kernelNames, cgroups: ['v2', 'v1'], init: ['sh', 'systemd'] };
for (const [option, allowed] of Object.entries(choices)) {
  if (!allowed.includes(values[option])) throw new Error(`--${option} is one of ${allowed.join(', ')}`);
}

const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function guestCommand() {
  const jest = ['node', '--experimental-vm-modules', '--no-warnings', 'node_modules/jest/bin/jest.js'];
  // One process: starting Node costs seconds under emulation. What a failed test has left must not keep the machine running.
  const options = ['--selectProjects=root', '--runInBand', '--forceExit', '--passWithNoTests'];
  const report = values.report === undefined ? [] : ['--json', '--outputFile=/dev/ns-report'];
  const tests = [...jest, ...options, ...report, ...positionals].map(quote).join(' ');
  const passed = ['MUST_WORK', 'NS_ALLOWED_SKIPS'].filter((name) => process.env[name] !== undefined);
  return [
    'export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin NS_VM=1 NS_TEST_DIR=/var/tmp TMPDIR=/var/tmp',
    `export PATH=${quote(`${join(process.execPath, '..')}:`)}$PATH`,
    ...passed.map((name) => `export ${name}=${quote(process.env[name])}`),
    `cd ${quote(root)}`,
    values.command ?? tests,
    '',
  ].join('\n');
}

mkdirSync(cache, { recursive: true });
const kernel = prepareMachine();
const work = mkdtempSync(join(cache, 'run-'));
process.once('exit', () => rmSync(work, { recursive: true, force: true }));
process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));

const file = (name) => join(work, name);
writeFileSync(
  file('initramfs'),
  initramfs(kernel, guestCommand(), { CGROUPS: values.cgroups, INIT: values.init, CHECKOUT: quote(root) }),
);
writeFileSync(file('exit'), '');
const report = resolve(values.report ?? file('report'));
writeFileSync(report, '');
writeFileSync(file('console'), '');
const disk = openSync(file('disk'), 'w');
ftruncateSync(disk, 2 * 2 ** 30); // sparse
closeSync(disk);
execFileSync('mkfs.ext4', ['-q', '-F', file('disk')]);

process.exitCode = await boot({
  image: kernel.image,
  initramfs: file('initramfs'),
  disk: file('disk'),
  exitFile: file('exit'),
  reportFile: report,
  consoleFile: file('console'),
  memoryMb: 2_048,
  processors: 2,
  timeoutMs: Number(values['timeout-min']) * 60_000,
  append: values.append,
});

/** The kernel and the programs; without them this is no failure of a test. */
function prepareMachine() {
  try {
    ensurePackages();
    return ensureKernel(values.kernel, cache);
  } catch (error) {
    console.error(`test:vm: no virtual machine here: ${error.message}`);
    process.exit(126);
  }
}
