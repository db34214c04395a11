import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';

/** Debian packages the virtual machine is made with: a program of each, and why it is needed. */
const packages = [
  ['qemu-system-x86', '/usr/bin/qemu-system-x86_64', 'emulates the machine; no KVM is needed'],
  ['busybox-static', '/bin/busybox', 'is the init of the initramfs and its module loader'],
  ['xz-utils', '/usr/bin/xz', 'unpacks compressed kernel modules'],
  ['e2fsprogs', '/sbin/mkfs.ext4', 'formats the disk of the tests'],
  ['xfsprogs', '/sbin/mkfs.xfs', 'formats the other file system with project quota'],
  ['apparmor', '/sbin/apparmor_parser', 'loads profiles inside the machine'],
  ['secilc', '/usr/bin/secilc', 'compiles the policy of SELinux tests'],
];

/** Installs what is missing, saying what and why. Throws when that is not possible. */
export function ensurePackages() {
  const missing = packages.filter(([, program]) => !isExecutable(program));
  if (missing.length === 0) return;
  for (const [name, , why] of missing) console.error(`test:vm installs ${name}: ${why}`);
  const names = missing.map(([name]) => name);
  const options = {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  };
  const install = ['install', '-y', '-qq', '--no-install-recommends', ...names];
  const installed =
    spawnSync('apt-get', install, options).status === 0 ||
    (spawnSync('apt-get', ['update', '-qq'], options).status === 0 &&
      spawnSync('apt-get', install, options).status === 0);
  if (!installed) throw new Error(`Debian packages are missing: run apt-get install ${names.join(' ')} as root`);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
