import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { type ProfileCondition, profiles } from '@ns/seccomp';
import { buildDirectory, buildProgram } from './c-programs.ts';

/** What Docker gives a container by default. */
const capabilities = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
];

const mounts = [
  ['/proc', 'proc', ['nosuid', 'noexec', 'nodev']],
  ['/dev', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']],
  ['/dev/pts', 'devpts', ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5']],
  ['/dev/shm', 'tmpfs', ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k']],
  ['/dev/mqueue', 'mqueue', ['nosuid', 'noexec', 'nodev']],
  ['/sys', 'sysfs', ['nosuid', 'noexec', 'nodev', 'ro']],
] as const;

/**
 * A bundle for crun and runc that asks for what run() gives by default, with Docker's seccomp profile. Its root holds
 * static programs that do nothing, which costs less than the host's dynamic /bin/true.
 *
 * @param program - what the container runs: `true` ends at once, `pause` never
 * @returns the directory
 */
export function makeBundle(program: 'true' | 'pause' = 'true'): string {
  const directory = join(buildDirectory, `bundle-${program}`);
  for (const path of ['bin', 'proc', 'sys', 'dev']) mkdirSync(join(directory, 'rootfs', path), { recursive: true });
  for (const name of new Set(['true', program])) {
    const path = join(directory, 'rootfs/bin', name);
    // One that runs cannot be written to.
    rmSync(path, { force: true });
    copyFileSync(buildProgram(name, ['-static']), path);
  }
  writeFileSync(join(directory, 'config.json'), JSON.stringify(bundleConfig(`/bin/${program}`), undefined, 2));
  return directory;
}

function bundleConfig(program: string): object {
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: [program],
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      cwd: '/',
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: true,
    },
    root: { path: 'rootfs', readonly: false },
    hostname: 'bench',
    mounts: mounts.map(([destination, type, options]) => ({ destination, type, source: type, options })),
    linux: {
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
      maskedPaths: [
        '/proc/acpi',
        '/proc/asound',
        '/proc/interrupts',
        '/proc/kcore',
        '/proc/keys',
        '/proc/latency_stats',
        '/proc/sched_debug',
        '/proc/scsi',
        '/proc/timer_list',
        '/proc/timer_stats',
        '/sys/devices/virtual/powercap',
        '/sys/firmware',
      ],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
      seccomp: ociSeccomp(),
    },
  };
}

/** Docker's profile as Docker hands it to a runtime: conditions decided, one list of rules. */
function ociSeccomp(): object {
  const { defaultAction, defaultErrnoRet, syscalls } = profiles.docker;
  const arch = process.arch === 'arm64' ? 'arm64' : 'amd64';
  const [major = 0, minor = 0] = release().split('.').map(Number);
  const names = ({ caps, arches, minKernel }: ProfileCondition) => {
    const [wantedMajor = 0, wantedMinor = 0] = (minKernel ?? '0.0').split('.').map(Number);
    return [
      ...(caps ?? []).map((cap) => capabilities.includes(cap)),
      ...(arches?.length ? [arches.includes(arch)] : []),
      ...(minKernel ? [major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)] : []),
    ];
  };
  return {
    defaultAction,
    defaultErrnoRet,
    architectures:
      arch === 'arm64'
        ? ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM']
        : ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
    syscalls: (syscalls ?? [])
      .filter(({ includes, excludes }) => names(includes ?? {}).every(Boolean) && !names(excludes ?? {}).some(Boolean))
      .map(({ names, action, args, errnoRet }) => ({
        names,
        action,
        ...(args?.length && { args }),
        ...(typeof errnoRet === 'number' && { errnoRet }),
      })),
  };
}
