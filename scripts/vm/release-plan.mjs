import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { kernelNames } from './kernel.mjs';

/** So many files have one machine: what one does to it is not another's, and one that hangs holds up few. */
const filesPerMachine = 6;

/** Packages whose tests differ with the version of cgroups. */
const limiting = ['cgroups', 'core', 'launch'];

const kinds = [
  ...kernelNames.map((kernel) => ({ name: `${kernel} v2`, options: ['--kernel', kernel, '--init', 'systemd'] })),
  { name: '6.1 v1', options: ['--kernel', '6.1', '--cgroups', 'v1'], only: limiting },
];

/** The machines of the release check, in their order, each with the files it runs. */
export function releasePlan(root) {
  const packages = readdirSync(join(root, 'packages')).map((name) => ({ name, directory: `packages/${name}/test` }));
  const tested = [...packages, { name: 'examples', directory: 'examples/test' }]
    .map(({ name, directory }) => ({ name, files: rootTests(root, directory) }))
    .filter(({ files }) => files.length > 0);
  return kinds.flatMap(({ name: kind, options, only }) =>
    tested
      .filter(({ name }) => !only || only.includes(name))
      .flatMap(({ name, files }) =>
        Array.from({ length: Math.ceil(files.length / filesPerMachine) }, (_, part) => ({
          name: `${kind} ${name} ${part + 1}`,
          kind,
          package: name,
          options,
          files: files.slice(part * filesPerMachine, (part + 1) * filesPerMachine),
        })),
      ),
  );
}

function rootTests(root, directory) {
  if (!existsSync(join(root, directory))) return [];
  const files = readdirSync(join(root, directory)).filter((file) => file.endsWith('.root.test.ts'));
  return files.sort().map((file) => `${directory}/${file}`);
}
