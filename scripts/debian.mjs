// Debian packages the tests and benchmarks use, each with its reason. The library itself needs none of them.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const packages = [
  ['gcc', 'compiles the C floor of the benchmark and rebuilds the stage to compare its bytes'],
  ['libc6-dev', 'headers for the same'],
  ['python3-seccomp', 'libseccomp, which our seccomp compiler is compared with'],
  ['libcap2-bin', 'setcap, getcap and capsh, which our capability code is compared with'],
  ['iproute2', 'ip, tc and nstat, which our netlink code is compared with'],
  ['nftables', 'nft applies the NAT and port rules of networks'],
  ['iputils-ping', 'ping, for connectivity between test networks'],
  ['uidmap', 'newuidmap and newgidmap map ranges of ids for ordinary users'],
  ['passt', 'pasta, the network of an ordinary user'],
  ['slirp4netns', 'the same of older machines'],
  ['procps', 'ps, which programs of the guide run'],
  ['busybox-static', 'a root file system of one file for tests'],
  ['stress-ng', 'load that makes limits bite'],
  ['apparmor', 'apparmor_parser, which compiles AppArmor profiles'],
  ['rsync', 'the copy that our layer differences are compared with'],
  ['btrfs-progs', 'mkfs.btrfs, for the driver that makes snapshots'],
  ['fuse-overlayfs', 'the overlay driver for kernels that refuse others'],
  ['dbus-daemon', 'a message bus of its own, to play systemd for delegated cgroups'],
  ['criu', 'writes processes down and makes them again, for checkpoints'],
  ['strace', 'shows which system calls a process really made'],
  ['tmux', 'a terminal at which the interactive shell is tried'],
  ['postgresql', 'the database of the example of a test harness'],
  ['containernetworking-plugins', 'the bridge plugin of CNI, a peer in the benchmark of networks'],
  ['netavark', 'the same of podman'],
  ['iperf3', 'throughput through networks, in the benchmark'],
  ['bubblewrap', 'a peer in the benchmark'],
  ['libseccomp-dev', 'headers of libseccomp, whose compiler the benchmark times'],
  ['cgroup-tools', 'a peer in the benchmark'],
  ['crun', 'a peer in the benchmark'],
  ['runc', 'a peer in the benchmark'],
];
// The stage of the other architecture is cross-compiled and tried under emulation.
const crossPackages = {
  x64: [
    ['gcc-aarch64-linux-gnu', 'cross-compiles the stage for arm64'],
    ['libc6-dev-arm64-cross', 'headers for the same'],
    ['qemu-user-static', 'runs the arm64 stage'],
  ],
};

/**
 * Installs what is missing and says what and why. Never fails: without a package the tests that use it are skipped
 * with that reason, or fail under MUST_WORK=1.
 */
export function installDebianPackages() {
  const wanted = [...packages, ...(crossPackages[process.arch] ?? [])];
  if (!existsSync('/usr/bin/apt-get')) {
    console.log(
      `Not a Debian or Ubuntu machine: tests that need ${wanted.map(([name]) => name).join(', ')} are skipped where these are missing.`,
    );
    return;
  }
  const missing = notInstalled(wanted);
  if (missing.length === 0) return;
  console.log('Installing Debian packages that the tests use:');
  for (const [name, reason] of missing) console.log(`  ${name.padEnd(22)} ${reason}`);

  const names = missing.map(([name]) => name);
  const privilege = rootPrefix();
  if (!privilege) {
    console.log(
      `This needs root, and sudo wants a password or is missing. Going on without; to install them: sudo apt-get install ${names.join(' ')}`,
    );
    return;
  }
  const apt = (...args) => run([...privilege, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-q', ...args]);
  const install = (...args) => apt('install', '-y', '--no-install-recommends', ...args);
  apt('update');
  if (names.includes('postgresql')) withoutDatabase(install, privilege);
  // One unknown name makes apt refuse all: then each is tried by itself.
  if (install(...names) !== 0) for (const name of names) install(name);
  const failed = notInstalled(missing).map(([name]) => name);
  if (failed.length > 0) console.log(`Could not install ${failed.join(', ')}: the tests that need them are skipped.`);
}

/** The programs of PostgreSQL are all that is wanted, not a database of the machine's own that starts at every boot. */
function withoutDatabase(install, privilege) {
  install('postgresql-common');
  const setting = 's/^#? *create_main_cluster *=.*/create_main_cluster = false/';
  run([...privilege, 'sed', '-i', '-E', setting, '/etc/postgresql-common/createcluster.conf']);
}

function notInstalled(wanted) {
  const format = ['Package', 'db:Status-Status'].map((field) => `\${${field}}`).join(' ');
  const names = wanted.map(([name]) => name);
  const { stdout } = spawnSync('dpkg-query', ['-W', '-f', `${format}\n`, ...names], { encoding: 'utf8' });
  const lines = new Set(stdout.split('\n'));
  return wanted.filter(([name]) => !lines.has(`${name} installed`));
}

/** The words before a command that make it run as root; `undefined` when there is no way without asking. */
function rootPrefix() {
  if (process.geteuid() === 0) return [];
  return spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0 ? ['sudo', '-n'] : undefined;
}

/** Quiet unless it fails: apt is talkative. */
function run([command, ...args]) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 << 20,
  });
  if (status !== 0) console.log(`${args.join(' ')} failed:\n${stderr || stdout}`);
  return status;
}
