import { release } from 'node:os';
import type { NamespaceKind, Step } from '../src/index.ts';

/** Whether this kernel takes the layers of an overlay one by one: `lowerdir+`, since 6.8. */
export const appendsLower = kernelAtLeast(6, 8);

function kernelAtLeast(major: number, minor: number): boolean {
  const [itsMajor = 0, itsMinor = 0] = release().split('.').map(Number);
  return itsMajor > major || (itsMajor === major && itsMinor >= minor);
}

/** The end of every plan here: nothing of the caller's, then the program. */
export function program(argv: readonly string[], env: readonly string[] = []): Step[] {
  const name = argv[0]!;
  const candidates = name.includes('/') ? [name] : ['/usr/bin', '/bin'].map((directory) => `${directory}/${name}`);
  return [{ op: 'closeFds' }, { op: 'unblockSignals' }, { op: 'exec', candidates, argv, env }];
}

/** A program without a container, without a monitor: what `child_process.spawn` does. Needs no privileges. */
export function plainPlan(argv: readonly string[], env?: readonly string[]): Step[] {
  return [{ op: 'newSession' }, ...program(argv, env)];
}

/** A program under a monitor, which brings signals, timeouts and an exit record. Needs no privileges. */
export function monitoredPlan(
  argv: readonly string[],
  options: { timeoutMs?: number; before?: readonly Step[] } = {},
): Step[] {
  const { timeoutMs, before = [] } = options;
  return [
    { op: 'dieWithParent', parent: process.pid },
    { op: 'newSession' },
    {
      op: 'clone',
      supervisor: 'monitor',
      namespaces: [],
      ...(timeoutMs !== undefined && { timeoutMs }),
      child: [{ op: 'dieWithParent' }, { op: 'newSession' }, ...before, ...program(argv)],
    },
  ];
}

/** A pid namespace whose init runs the program: monitor, init, payload. Needs root. */
export function initPlan(
  argv: readonly string[],
  options: { timeoutMs?: number; setup?: readonly Step[]; before?: readonly Step[] } = {},
): Step[] {
  const { timeoutMs, setup = [], before = [] } = options;
  return [
    { op: 'dieWithParent', parent: process.pid },
    { op: 'newSession' },
    { op: 'notDumpable' },
    {
      op: 'clone',
      supervisor: 'monitor',
      namespaces: ['pid'],
      ...(timeoutMs !== undefined && { timeoutMs }),
      child: [
        { op: 'dieWithParent' },
        { op: 'newSession' },
        ...setup,
        { op: 'clone', supervisor: 'init', namespaces: [], child: [{ op: 'newSession' }, ...before, ...program(argv)] },
      ],
    },
  ];
}

const containerNamespaces: readonly NamespaceKind[] = ['mnt', 'uts', 'ipc', 'pid', 'net', 'time'];
const dockerCapabilities = 0xa80425fbn;

/** A whole container over the host's own root, as @ns/core makes one. `setup` is what its init does before it starts the program. */
export function containerPlan(argv: readonly string[]): { monitor: Step[]; setup: Step[]; payload: Step[] } {
  return {
    monitor: [{ op: 'dieWithParent', parent: process.pid }, { op: 'newSession' }, { op: 'notDumpable' }],
    setup: [
      { op: 'dieWithParent' },
      { op: 'newSession' },
      { op: 'unshare', namespaces: ['cgroup'] },
      { op: 'sessionKeyring', name: '_ses.launch-test', joinableBy: 'user', required: true },
      { op: 'linkUp', name: 'lo' },
      { op: 'umask', mask: 0 },
      { op: 'propagation', propagation: 'rslave' },
      { op: 'mountScratch', options: { mode: '0755' } },
      {
        op: 'mountOverlay',
        target: '/',
        lower: ['/'],
        upper: { scratch: 'root' },
        options: { redirect_dir: 'nofollow', metacopy: 'off', index: 'off', xino: 'off' },
        attributes: ['nodev'],
        appendLower: appendsLower,
      },
      {
        op: 'mount',
        type: 'proc',
        target: '/proc',
        options: {},
        attributes: ['nosuid', 'nodev', 'noexec'],
        plain: true,
        handle: 'proc',
      },
      {
        op: 'mount',
        type: 'sysfs',
        target: '/sys',
        options: {},
        attributes: ['ro', 'nosuid', 'nodev', 'noexec'],
        plain: true,
      },
      {
        op: 'mountDev',
        options: { mode: '755', size: '65536k' },
        nodes: [
          { name: 'null', type: 'c', major: 1, minor: 3, mode: 0o666, uid: 0, gid: 0 },
          { name: 'zero', type: 'c', major: 1, minor: 5, mode: 0o666, uid: 0, gid: 0 },
        ],
        links: {
          fd: '/proc/self/fd',
          stdin: '/proc/self/fd/0',
          stdout: '/proc/self/fd/1',
          stderr: '/proc/self/fd/2',
          ptmx: 'pts/ptmx',
        },
        directories: ['pts', 'shm', 'mqueue'],
        bindNodes: false,
      },
      {
        op: 'mount',
        type: 'devpts',
        target: '/dev/pts',
        options: { ptmxmode: '0666', mode: '0620', gid: '5' },
        attributes: ['nosuid', 'noexec'],
        plain: true,
      },
      {
        op: 'mount',
        type: 'tmpfs',
        target: '/dev/shm',
        options: { mode: '1777', size: '65536k' },
        attributes: ['nosuid', 'noexec', 'nodev'],
        plain: true,
      },
      {
        op: 'mount',
        type: 'mqueue',
        target: '/dev/mqueue',
        options: {},
        attributes: ['nosuid', 'noexec', 'nodev'],
        plain: true,
      },
      { op: 'hostname', name: 'sandbox' },
      { op: 'file', target: '/etc/launch-test', content: 'placed\n', mode: 0o644, uid: 0, gid: 0 },
      {
        op: 'bind',
        source: '/usr/bin',
        target: '/mnt',
        type: 'directory',
        attributes: ['ro', 'nodev'],
        recursive: false,
      },
      { op: 'sysctl', key: 'net.ipv4.ip_unprivileged_port_start', value: '0', required: true },
      { op: 'mask', paths: ['/proc/acpi', '/proc/kcore', '/proc/cmdline', '/proc/keys', '/sys/firmware'] },
      { op: 'readonlyPaths', paths: ['/proc/bus', '/proc/irq', '/proc/sys'] },
      { op: 'pivotRoot' },
      { op: 'workingDirectory', path: '/srv/app', create: true },
      { op: 'stdioNull', fds: [0] },
    ],
    payload: [
      { op: 'newSession' },
      { op: 'boundingSet', keep: dockerCapabilities, lastCapability: 40 },
      { op: 'credentials', uid: 0, gid: 0, groups: [] },
      { op: 'capabilities', permitted: dockerCapabilities, effective: dockerCapabilities },
      { op: 'umask', mask: 0o22 },
      { op: 'closeFds' },
      { op: 'unblockSignals' },
      { op: 'noNewPrivileges' },
      {
        op: 'exec',
        candidates: ['/usr/bin', '/bin'].map((directory) => `${directory}/${argv[0]}`),
        argv,
        env: ['PATH=/usr/bin:/bin'],
      },
    ],
  };
}

/** The three parts of a container's plan put together. */
export function assembleContainer({ monitor, setup, payload }: ReturnType<typeof containerPlan>): Step[] {
  const init: Step = { op: 'clone', supervisor: 'init', namespaces: [], child: payload };
  return [...monitor, { op: 'clone', supervisor: 'monitor', namespaces: containerNamespaces, child: [...setup, init] }];
}
