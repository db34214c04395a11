/* npm run test:release: every root test in virtual machines of several kinds, one after the other: what CI has no time
   for. Hours under emulation. Says at the end which kind failed. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { kernelNames } from './kernel.mjs';

const run = fileURLToPath(new URL('run.mjs', import.meta.url));
const kinds = [
  ...kernelNames.map((kernel) => ['--kernel', kernel, '--init', 'systemd']),
  ['--cgroups', 'v1', 'packages/(cgroups|core|launch)/test/'],
];

const failed = kinds.filter((kind) => {
  console.log(`\n== ${kind.join(' ')}`);
  const started = performance.now();
  const { status } = spawnSync(process.execPath, [run, '--timeout-min', '240', ...kind], { stdio: 'inherit' });
  console.log(`took ${Math.round((performance.now() - started) / 60_000)} minutes`);
  return status !== 0;
});
for (const kind of failed) console.log(`FAILED ${kind.join(' ')}`);
process.exitCode = failed.length > 0 ? 1 : 0;
