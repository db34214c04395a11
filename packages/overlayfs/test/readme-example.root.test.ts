import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { applyChanges, diffLayer, discard, mountOverlay } from '@ns/overlayfs';
import { needs, notRoot } from '@ns/testing';
import { Scratch } from './scratch.ts';

needs(notRoot)('the example of the README', async () => {
  using host = new Scratch({ tmpfs: true });
  const project = host.tree('project', { 'src/main.c': 'int main;', secret: 's' });
  const scratch = host.dir('scratch');

  mkdirSync(`${scratch}/upper`, { recursive: true });
  mkdirSync(`${scratch}/work`);
  mkdirSync(`${scratch}/view`);
  using mount = mountOverlay({
    lower: [project],
    upper: `${scratch}/upper`,
    work: `${scratch}/work`,
    target: `${scratch}/view`,
  });

  // An untrusted tool.
  writeFileSync(`${scratch}/view/src/main.c`, 'int main(void) {}');
  rmSync(`${scratch}/view/secret`);
  mount.unmount();

  const seen: string[] = [];
  for (const { kind, path, type } of await diffLayer(`${scratch}/upper`, project)) seen.push(`${kind} ${path} ${type}`);
  expect(seen.sort()).toEqual(['deleted /secret file', 'modified /src/main.c file']);

  await applyChanges(`${scratch}/upper`, project, { select: (path) => path.startsWith('/src/') });
  await discard(`${scratch}/upper`);
  expect(readFileSync(`${project}/src/main.c`, 'utf8')).toBe('int main(void) {}');
  expect(readFileSync(`${project}/secret`, 'utf8')).toBe('s');
  expect(readdirSync(`${scratch}/upper`)).toEqual([]);
});
