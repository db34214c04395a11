// What every command needs before it can start, on a machine that has nothing but Node and npm:
//   node scripts/prepare.mjs [--debian] [--build]
// Plain Node without dependencies: node_modules may not exist yet.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { installDebianPackages } from './debian.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

const { values: wanted } = parseArgs({ options: { debian: { type: 'boolean' }, build: { type: 'boolean' } } });

const missing = missingNpmPackage();
if (missing) {
  console.log(`Installing npm packages (${missing}).`);
  step('npm', ['ci', '--strict-allow-scripts', '--no-progress', '--loglevel=error']);
}
if (wanted.debian) installDebianPackages();
if (wanted.build) step(process.execPath, ['node_modules/typescript/bin/tsc', '-b']);

/** Runs a command in the repository; when it fails, so does this script. */
function step(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (error) console.error(`${command}: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

/**
 * Why `npm ci` has to run, if it has to. Compares versions, not times: npm writes the lock file after the packages,
 * and a checkout writes it whenever it likes.
 */
function missingNpmPackage() {
  let installed;
  try {
    installed = packagesIn('node_modules/.package-lock.json');
  } catch {
    return 'none are installed';
  }
  for (const [path, { version, optional, resolved }] of Object.entries(packagesIn('package-lock.json'))) {
    // Optional packages are mostly binaries of other platforms; the entry without a path is the repository itself.
    if (path === '' || optional) continue;
    const found = installed[path];
    if (!found) return `${path} is missing`;
    if (found.version !== version || (found.link && found.resolved !== resolved))
      return `${path} is not ${version ?? resolved}`;
  }
  return undefined;
}

function packagesIn(lockFile) {
  return JSON.parse(readFileSync(new URL(`../${lockFile}`, import.meta.url), 'utf8')).packages;
}
