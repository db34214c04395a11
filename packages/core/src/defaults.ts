import type { DeviceNode } from '@ns/launch';

/* What Docker 28 gives a container, read from moby's oci/defaults.go; the differences stand beside their lines. */

/** Read as empty. */
export const maskedPaths: readonly string[] = [
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
  '/sys/devices/virtual/powercap', // power side channels: GHSA-jq35-85cj-fj4p
  '/sys/firmware',
];

/** Cannot be written. */
export const readonlyPaths: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];

const character = (name: string, major: number, minor: number): DeviceNode => ({
  name,
  type: 'c',
  major,
  minor,
  mode: 0o666,
  uid: 0,
  gid: 0,
});

/** Nodes in /dev: Documentation/admin-guide/devices.txt. */
export const deviceNodes: readonly DeviceNode[] = [
  character('null', 1, 3),
  character('zero', 1, 5),
  character('full', 1, 7),
  character('random', 1, 8),
  character('urandom', 1, 9),
  character('tty', 5, 0),
];

/** Links in /dev. /proc/kcore's is left out: it is masked. */
export const deviceLinks: Readonly<Record<string, string>> = {
  fd: '/proc/self/fd',
  stdin: '/proc/self/fd/0',
  stdout: '/proc/self/fd/1',
  stderr: '/proc/self/fd/2',
  ptmx: 'pts/ptmx',
};

/** Where programs are looked for when `env` has no PATH. */
export const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Private places of a host that a sandbox has no business with. */
export const hiddenPaths: readonly string[] = [
  '/root',
  '/home',
  '/boot',
  '/run',
  '/var/lib/docker',
  '/var/lib/containerd',
  '/var/lib/containers',
  '/var/lib/kubelet',
  '/var/lib/lxc',
  '/var/lib/ns',
  '/var/spool/cron',
  '/etc/shadow',
  '/etc/shadow-',
  '/etc/gshadow',
  '/etc/gshadow-',
  '/etc/ssl/private',
  '/etc/ssh/ssh_host_dsa_key',
  '/etc/ssh/ssh_host_ecdsa_key',
  '/etc/ssh/ssh_host_ed25519_key',
  '/etc/ssh/ssh_host_rsa_key',
  '/etc/sudoers.d',
  '/etc/krb5.keytab',
];

/** Bytes. */
export const defaultShmSize = 64 * 2 ** 20;
export const defaultMaxOutputBytes = 64 * 2 ** 20;
