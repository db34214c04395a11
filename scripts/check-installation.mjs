/* Each package as a stranger gets it: its packed tarball and those of the packages it names as dependencies, in an empty
   project that has nothing else. It must load as an ES module and by require, its types must be found, and the first
   example of its README must run where it needs no root, or there is root. Needs a build; takes nothing from the registry. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { transformSync } from 'esbuild';

const root = join(import.meta.dirname, '..');
const scratch = mkdtempSync(join(tmpdir(), 'ns-installation-'));
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));

/** Examples that are run: of packages that are worth installing alone, and need nothing of the machine but a kernel. */
const runnable = ['capabilities', 'seccomp', 'namespaces', 'lsm'];

const directories = readdirSync(join(root, 'packages')).filter((name) =>
  existsSync(join(root, 'packages', name, 'package.json')),
);
const manifestOf = (directory) => JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
const ours = new Map(
  directories.map((name) => [manifestOf(join(root, 'packages', name)).name, join(root, 'packages', name)]),
);

/** Unpacked tarballs by name: what the registry would have. */
function pack() {
  const workspaces = [...ours.keys()].flatMap((name) => ['-w', name]);
  const { NODE_EXTRA_CA_CERTS, ...env } = process.env;
  const options = { cwd: root, encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 2 ** 26 };
  const output = execFileSync(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--pack-destination', scratch, ...workspaces],
    options,
  );
  const packed = JSON.parse(output);
  return new Map(
    Object.values(packed).map(({ name, filename }) => {
      const place = join(scratch, 'packed', name);
      mkdirSync(place, { recursive: true });
      execFileSync('tar', ['-xzf', join(scratch, filename), '-C', place, '--strip-components=1']);
      return [name, place];
    }),
  );
}

/** Where Node finds a dependency of a package of this repository. */
function findInstalled(name, from) {
  for (let directory = from; ; directory = dirname(directory)) {
    const candidate = join(directory, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) return candidate;
    if (directory === dirname(directory)) return undefined;
  }
}

/** Puts a package of ours and what it names into a project; packages of others are linked, with what they need beside them. */
function install(name, project, seen) {
  if (seen.has(name)) return;
  seen.add(name);
  const source = packed.get(name);
  const place = join(project, 'node_modules', name);
  cpSync(source, place, { recursive: true });
  const { dependencies = {}, peerDependencies = {} } = manifestOf(source);
  for (const dependency of Object.keys({ ...dependencies, ...peerDependencies })) {
    if (packed.has(dependency)) {
      install(dependency, project, seen);
      continue;
    }
    const found = findInstalled(dependency, ours.get(name));
    if (!found) throw new Error(`${name} needs ${dependency}, which is not installed`);
    // Beside the package that names it and nowhere else: nobody finds what he has not named.
    const link = join(place, 'node_modules', dependency);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(found, link);
  }
}

const packed = pack();
let failed = false;
for (const [name, source] of packed) {
  const project = join(scratch, 'projects', name.replace('/', '+'));
  mkdirSync(project, { recursive: true });
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }\n');
  for (const problem of tryOut(name, source, project)) {
    console.log(`${name}: ${problem}`);
    failed = true;
  }
  rmSync(project, { recursive: true });
}
process.exitCode = failed ? 1 : 0;

function* tryOut(name, source, project) {
  try {
    install(name, project, new Set());
  } catch (error) {
    yield error.message;
    return;
  }
  const { types } = manifestOf(source).exports['.'];
  if (!existsSync(join(project, 'node_modules', name, types))) yield `has no types at ${types}`;
  const load = `const a = await import('${name}'); const b = (await import('node:module')).createRequire(process.cwd() + '/x.js')('${name}');
if (Object.keys(a).length === 0 || Object.keys(a).some((key) => key !== 'default' && key !== 'module.exports' && !(key in b))) throw new Error('exports differ');`;
  yield* run('cannot be loaded', load, project);
  if (runnable.some((short) => name === `@ns/${short}`) && process.geteuid() === 0) {
    const [, example] = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(source, 'README.md'), 'utf8')) ?? [];
    yield* run(
      "the README's example fails",
      transformSync(example ?? 'throw 0', { loader: 'ts', target: 'node20', format: 'esm' }).code,
      project,
    );
  }
}

function* run(complaint, code, project) {
  writeFileSync(join(project, 'try.mjs'), code);
  const { NODE_EXTRA_CA_CERTS, ...env } = process.env;
  const { status, stderr, error } = spawnSync(process.execPath, ['try.mjs'], {
    cwd: project,
    env,
    encoding: 'utf8',
    timeout: 60_000,
  });
  if (status !== 0) yield `${complaint}: ${error ?? stderr.trim()}`;
}
