import { onlyKnownKeys, SpecError } from '@ns/libc';
import { checkProfileName } from './profile-name.ts';

/** What a default profile is made for. */
export interface DefaultProfileOptions {
  /** Name of the profile. */
  readonly name: string;
  /**
   * Profiles whose processes may signal the confined ones, for stopping them. Default: those without a profile. `'any'`
   * leaves it to the kernel's other rules, which do not let a process of another pid namespace be signalled at all.
   */
  readonly signalledBy?: readonly string[] | 'any';
  /** Feature ABI the profile declares, `3.0`: since AppArmor 3. Default: none. Newer parsers assume less without one. */
  readonly abi?: string;
}

// Families the kernel dropped or that reach past the container: AF_ALG had exploitable bugs (copy.fail), AF_VSOCK
// addresses the hypervisor's host.
const deniedSocketFamilies = [
  'alg',
  'vsock',
  'ax25',
  'ipx',
  'appletalk',
  'netrom',
  'rose',
  'econet',
  'atmsvc',
  'irda',
  'wanpipe',
];

const hiddenPaths = [
  '/proc/sysrq-trigger',
  '/proc/kcore',
  '/sys/firmware/**',
  '/sys/devices/virtual/powercap/**',
  '/sys/kernel/security/**',
];

/**
 * The text of a profile with the meaning of Docker's `docker-default`: files, network and capabilities are left to
 * the other layers; mounts, writes to the kernel's settings, and signals and ptrace across the border are refused.
 *
 * @throws SpecError for a name that could not stand in a profile
 *
 * @example
 * ```ts
 * await loadAppArmorProfile(defaultAppArmorProfile({ name: 'jobs', signalledBy: ['unconfined', 'supervisor'] }));
 * ```
 */
export function defaultAppArmorProfile(options: DefaultProfileOptions): string {
  onlyKnownKeys(options, ['name', 'signalledBy', 'abi'], '');
  const { name, signalledBy = ['unconfined'], abi } = options;
  checkProfileName(name, 'name');
  if (signalledBy !== 'any' && !Array.isArray(signalledBy))
    throw new SpecError('signalledBy', "names of profiles, or 'any'", signalledBy);
  if (signalledBy !== 'any')
    for (const [index, peer] of signalledBy.entries()) checkProfileName(peer, `signalledBy[${index}]`);
  if (abi !== undefined && !/^\d+\.\d+$/.test(abi)) throw new SpecError('abi', "a version such as '3.0'", abi);

  const rules = [
    'network,',
    ...deniedSocketFamilies.map((family) => `deny network ${family},`),
    'capability,',
    'file,',
    'umount,',
    'deny mount,',
    ...(signalledBy === 'any' ? ['signal (receive),'] : signalledBy.map((peer) => `signal (receive) peer="${peer}",`)),
    `signal (send, receive) peer="${name}",`,
    `ptrace (trace, tracedby, read, readby) peer="${name}",`,
    // Of /proc, only the directories of processes and the limits of shared memory can be written to.
    'deny /proc/* w,',
    'deny /proc/sys[^/]** w,',
    ...besides('/proc/', 'sys', '1-9').map((pattern) => `deny ${pattern} w,`),
    ...besides('/proc/sys/', 'kernel').map((pattern) => `deny ${pattern} w,`),
    ...besides('/proc/sys/kernel/', 'shm').map((pattern) => `deny ${pattern} w,`),
    // Of /sys, only cgroups.
    ...besides('/sys/', 'fs').map((pattern) => `deny ${pattern} wklx,`),
    ...besides('/sys/fs/', 'cgroup').map((pattern) => `deny ${pattern} wklx,`),
    ...hiddenPaths.map((path) => `deny ${path} rwklx,`),
  ];
  return [
    ...(abi ? [`abi <abi/${abi}>,`, ''] : []),
    // A path in a mount that is not attached to the namespace, and one that was unlinked, are still matched.
    `profile "${name}" flags=(attach_disconnected, mediate_deleted) {`,
    ...rules.map((rule) => `  ${rule}`),
    '}',
    '',
  ].join('\n');
}

/**
 * The text of the profile this package brings compiled. The kernel's rules for signals between pid namespaces suffice: who
 * stops a container may run under a profile of any name.
 */
export function builtInProfileText(name: string): string {
  return defaultAppArmorProfile({ name, signalledBy: 'any' });
}

/**
 * Patterns for everything in a directory, at any depth, except entries whose name begins with `kept`: deny rules cannot
 * be overridden, so the exception has to be spelled out letter by letter.
 *
 * @param also - other first letters that are kept
 */
function besides(directory: string, kept: string, also = ''): string[] {
  return [...kept].map((letter, index) => {
    const others = `[^${index === 0 ? also : ''}${letter}/]`;
    return `${directory}${kept.slice(0, index)}${others}**`;
  });
}

/** Who may make user namespaces. */
export interface UserNamespaceProfileOptions {
  /** Name of the profile. */
  readonly name: string;
  /** The program that is allowed to, usually `process.execPath`. */
  readonly program: string;
}

/**
 * The text of a profile that lets one program make user namespaces where `restrictsUserNamespaces` is true, and
 * restricts it in nothing. It belongs into /etc/apparmor.d, loaded with `apparmor_parser -r`. Since AppArmor 4.
 *
 * @throws SpecError for a name or path that could not stand in a profile
 *
 * @example
 * ```ts
 * import { writeFileSync } from 'node:fs';
 *
 * const text = userNamespaceProfile({ name: 'node', program: process.execPath });
 * writeFileSync('/etc/apparmor.d/node', text); // then: apparmor_parser -r /etc/apparmor.d/node
 * ```
 */
export function userNamespaceProfile(options: UserNamespaceProfileOptions): string {
  onlyKnownKeys(options, ['name', 'program'], '');
  const { name, program } = options;
  checkProfileName(name, 'name');
  if (typeof program !== 'string' || !/^\/[\w.+@/-]+$/.test(program)) {
    throw new SpecError('program', 'an absolute path of letters, digits and ._+@-/', program);
  }
  return `abi <abi/4.0>,\n\nprofile "${name}" ${program} flags=(unconfined) {\n  userns,\n}\n`;
}
