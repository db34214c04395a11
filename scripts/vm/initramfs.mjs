import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { cpio } from './cpio.mjs';

/** What must be there before the host's root can be mounted; everything else is loaded on demand from it. */
const bootModules = [
  'virtio_mmio',
  'virtio_console',
  'virtio_blk',
  '9pnet_virtio',
  '9p',
  'overlay',
  'crc32c_generic',
  'ext4',
  // Makes /dev/loop-control, as every machine has it.
  'loop',
];

const directories = ['bin', 'dev', 'proc', 'sys', 'modules', 'host', 'scratch', 'root'];

/**
 * The initramfs: busybox, the boot modules in the order of their dependencies, `/init`, and the command to be run.
 *
 * @param {{ modules: string }} kernel
 * @param {string} command shell text
 * @param {Record<string, string>} options shell variables of `/init`
 */
export function initramfs(kernel, command, options) {
  const modules = inOrder(kernel.modules);
  return cpio([
    ...directories.map((path) => ({ path, mode: 0o040755 })),
    { path: 'bin/busybox', mode: 0o100755, content: readFileSync('/bin/busybox') },
    { path: 'init', mode: 0o100755, content: readFileSync(new URL('./guest-init.sh', import.meta.url)) },
    {
      path: 'options',
      mode: 0o100644,
      content: Buffer.from(
        Object.entries(options)
          .map(([name, value]) => `${name}=${value}\n`)
          .join(''),
      ),
    },
    { path: 'command', mode: 0o100755, content: Buffer.from(command) },
    {
      path: 'modules/order',
      mode: 0o100644,
      content: Buffer.from(modules.map((path) => `${plainName(path)}\n`).join('')),
    },
    { path: 'modules/source', mode: 0o100644, content: Buffer.from(kernel.modules) },
    ...modules.map((path) => ({
      path: `modules/${plainName(path)}`,
      mode: 0o100644,
      content: readModule(join(kernel.modules, path)),
    })),
  ]);
}

const plainName = (path) => basename(path).replace(/\.xz$/, '');

function readModule(path) {
  return path.endsWith('.xz') ? execFileSync('xz', ['-dc', path], { maxBuffer: 64 * 2 ** 20 }) : readFileSync(path);
}

/** Paths of the boot modules, each after what it depends on. Modules built into the kernel are not listed. */
function inOrder(modulesDirectory) {
  const dependencies = new Map();
  for (const line of readFileSync(join(modulesDirectory, 'modules.dep'), 'utf8').split('\n').filter(Boolean)) {
    const [path, needed] = line.split(':');
    dependencies.set(path, needed.split(' ').filter(Boolean));
  }
  const byName = new Map(
    [...dependencies.keys()].map((path) => [plainName(path).replace(/\.ko$/, '').replaceAll('-', '_'), path]),
  );
  const ordered = new Set();
  const add = (path) => {
    for (const needed of dependencies.get(path) ?? []) if (!ordered.has(needed)) add(needed);
    ordered.add(path);
  };
  for (const name of bootModules) if (byName.has(name)) add(byName.get(name));
  return [...ordered];
}
