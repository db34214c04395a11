/* npm run test:release: every root test in virtual machines of several kinds, one after the other: what CI has no time
   for. Hours under emulation. Each package gets a machine of its own, so that what one does to it is not another's, and one
   that hangs holds up nobody. Says at the end which failed. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { kernelNames } from './kernel.mjs';

const root = resolve(import.meta.dirname, '../..');
const run = join(import.meta.dirname, 'run.mjs');

const packages = readdirSync(join(root, 'packages')).map((name) => `packages/${name}/test/`);
const tested = [...packages, 'examples/test/'].filter((directory) => {
  const path = join(root, directory);
  return existsSync(path) && readdirSync(path).some((file) => file.endsWith('.root.test.ts'));
});
const limiting = tested.filter((directory) => /\/(cgroups|core|launch)\//.test(directory));
const kinds = [
  ...kernelNames.map((kernel) => ({ options: ['--kernel', kernel, '--init', 'systemd'], directories: tested })),
  { options: ['--cgroups', 'v1'], directories: limiting },
];
const machines = kinds.flatMap(({ options, directories }) =>
  directories.map((directory) => [...options, '--timeout-min', '90', directory]),
);

const failed = machines.filter((machine) => {
  console.log(`\n== ${machine.join(' ')}`);
  const started = performance.now();
  const { status } = spawnSync(process.execPath, [run, ...machine], { stdio: 'inherit' });
  console.log(`took ${Math.round((performance.now() - started) / 60_000)} minutes`);
  return status !== 0;
});
console.log(`\n${machines.length - failed.length} of ${machines.length} passed`);
for (const machine of failed) console.log(`FAILED ${machine.join(' ')}`);
process.exitCode = failed.length > 0 ? 1 : 0;
