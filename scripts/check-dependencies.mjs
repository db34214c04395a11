// Which package may import which. Packages are in the order of the architecture: each may use only those above it.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));
const order = [
  'libc',
  'launch',
  'namespaces',
  'capabilities',
  'seccomp',
  'lsm',
  'cgroups',
  'mounts',
  'overlayfs',
  'netlink',
  'netns',
  'images',
  'oci',
  'core',
].map((name) => `@ns/${name}`);
const kernelDoor = '@ns/libc';
const onlyFor = { koffi: kernelDoor };

const problems = [];
const rootDevelopment = Object.keys(readJson('package.json').devDependencies);

for (const directory of [
  ...readdirSync(join(root, 'packages')).map((name) => `packages/${name}`),
  'examples',
  'bench',
]) {
  const manifest = readJson(`${directory}/package.json`);
  const dependencies = Object.keys({
    ...manifest.dependencies,
    ...manifest.peerDependencies,
    ...manifest.optionalDependencies,
  });
  const development = [
    ...dependencies,
    ...Object.keys(manifest.devDependencies ?? {}),
    ...rootDevelopment,
    manifest.name,
  ];
  const used = new Set();

  for (const dependency of dependencies)
    if (!mayUse(manifest.name, dependency))
      problems.push(`${directory}/package.json: ${dependency} is not above ${manifest.name}`);
  compareReferences(directory, dependencies);
  for (const [folder, allowed] of [
    ['src', dependencies],
    ['test', development],
  ]) {
    for (const file of sourcesIn(join(root, directory, folder))) {
      for (const specifier of importsOf(file)) {
        const problem = judge(specifier, { manifest, directory, file, allowed });
        if (problem) problems.push(`${relative(root, file)}: imports '${specifier}', ${problem}`);
        if (folder === 'src') used.add(packageName(specifier));
      }
    }
  }
  for (const dependency of dependencies)
    if (!used.has(dependency)) problems.push(`${directory}/package.json: ${dependency} is never imported in src`);
}

console.log(problems.join('\n'));
process.exitCode = problems.length > 0 ? 1 : 0;

/** What is wrong with an import, if anything. */
function judge(specifier, { manifest, directory, file, allowed }) {
  if (isBuiltin(specifier)) return specifier.startsWith('node:') ? undefined : 'which needs the prefix node:';
  if (specifier.startsWith('.')) {
    const target = relative(join(root, directory), resolve(dirname(file), specifier));
    return target.startsWith('..') ? 'which lies outside the package' : undefined;
  }
  const name = packageName(specifier);
  if (onlyFor[name] && onlyFor[name] !== manifest.name) return `which only ${onlyFor[name]} may`;
  if (!allowed.includes(name)) return 'which its package.json does not list';
  if (name.startsWith('@ns/') && specifier !== name) return 'past the public entry of that package';
  return undefined;
}

/** Whether a package may depend on another one of ours. Those without a place in the order are at its end. */
function mayUse(name, dependency) {
  if (!dependency.startsWith('@ns/')) return true;
  const [from, to] = [order.indexOf(name), order.indexOf(dependency)];
  return to >= 0 && (from < 0 || to < from);
}

/** `tsc -b` builds in the order of tsconfig references: they have to say what package.json says. */
function compareReferences(directory, dependencies) {
  const { config } = ts.readConfigFile(join(root, directory, 'tsconfig.json'), ts.sys.readFile);
  const references = (config.references ?? [])
    .map(({ path }) => readJson(`${directory}/${path}/package.json`).name)
    .sort();
  const expected = dependencies.filter((name) => name.startsWith('@ns/')).sort();
  if (references.join() !== expected.join())
    problems.push(
      `${directory}/tsconfig.json: references ${references.join(', ') || 'nothing'}, package.json lists ${expected.join(', ') || 'nothing'}`,
    );
}

function importsOf(file) {
  return ts.preProcessFile(readFileSync(file, 'utf8'), true, true).importedFiles.map(({ fileName }) => fileName);
}

function packageName(specifier) {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

function sourcesIn(directory) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true })
    .filter((name) => name.endsWith('.ts') && !name.split(sep).includes('generated'))
    .map((name) => join(directory, name));
}

function readJson(path) {
  return JSON.parse(readFileSync(join(root, path), 'utf8'));
}
