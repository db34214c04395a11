import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Kernels by the name given on the command line: Debian's metapackages. The cloud flavours have no 9p. */
const metapackages = {
  6.1: 'linux-image-amd64',
  6.12: 'linux-image-6.12-amd64',
};

export const kernelNames = Object.keys(metapackages);

/**
 * Fetches a Debian kernel and unpacks it, without installing it, beneath `cache`.
 *
 * @returns {{ image: string, modules: string, release: string }}
 */
export function ensureKernel(name, cache) {
  const directory = join(cache, 'kernels', name);
  if (!existsSync(directory)) unpack(name, directory);
  const modulesRoot = join(directory, 'lib/modules');
  const release = readdirSync(modulesRoot)[0];
  return { release, image: join(directory, 'boot', `vmlinuz-${release}`), modules: join(modulesRoot, release) };
}

function unpack(name, directory) {
  const work = `${directory}.new`;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const kernelPackage = resolveMetapackage(metapackages[name]);
  console.error(`test:vm fetches ${kernelPackage}: the kernel to test on (unpacked beneath .vm, not installed)`);
  // apt's own user may not write here, which it only warns about.
  const options = ['-qq', '-o', 'APT::Sandbox::User=root', '-o', 'Acquire::Retries=3'];
  execFileSync('apt-get', ['download', ...options, kernelPackage], {
    cwd: work,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const archive = readdirSync(work).find((file) => file.endsWith('.deb'));
  execFileSync('dpkg', ['-x', archive, '.'], { cwd: work, stdio: 'inherit' });
  rmSync(join(work, archive));
  const release = readdirSync(join(work, 'lib/modules'))[0];
  // modules.dep is made when a kernel package is installed, which this one is not.
  execFileSync('busybox', ['depmod', '-b', work, release], { cwd: work, stdio: ['ignore', 'ignore', 'inherit'] });
  renameSync(work, directory);
}

function resolveMetapackage(metapackage) {
  const text = execFileSync('apt-cache', ['depends', '--no-recommends', '--no-suggests', metapackage], {
    encoding: 'utf8',
  });
  const name = /Depends: (linux-image-\S+)/.exec(text)?.[1];
  if (!name)
    throw new Error(
      `apt-cache knows no kernel for ${metapackage}: run apt-get update, or add the backports of this Debian release`,
    );
  return name;
}
