// npm run test:node -- MAJOR [arguments of scripts/test.mjs]: the tests with another Node.js, that of an npm package, unpacked
// beneath .vm and not installed. Containers run it, too: in a checkout below /tmp those with ids of their own would not see it.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [major, ...rest] = process.argv.slice(2);
if (!/^\d+$/.test(major ?? '')) throw new Error('Usage: npm run test:node -- MAJOR [arguments of scripts/test.mjs]');
const root = fileURLToPath(new URL('..', import.meta.url));
const directory = join(root, '.vm', `node-${major}`);
if (!existsSync(directory)) fetchNode(`node-linux-${process.arch}@${major}`, directory);
const { PATH, ...env } = process.env;
const bin = join(directory, 'bin');
const { status } = spawnSync(join(bin, 'node'), ['scripts/test.mjs', ...rest], {
  cwd: root,
  stdio: 'inherit',
  env: { ...env, PATH: `${bin}:${PATH}` },
});
process.exitCode = status ?? 1;

function fetchNode(name, directory) {
  const work = `${directory}.new`;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  console.error(`test:node fetches ${name} (unpacked beneath .vm, not installed)`);
  const options = { cwd: work, stdio: ['ignore', 'ignore', 'inherit'] };
  execFileSync('npm', ['pack', '--silent', name], options);
  const archive = readdirSync(work).find((file) => file.endsWith('.tgz'));
  execFileSync('tar', ['-xzf', archive, '--strip-components=1'], options);
  rmSync(join(work, archive));
  renameSync(work, directory);
}
