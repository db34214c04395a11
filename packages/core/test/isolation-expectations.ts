import { readFileSync, readlinkSync } from 'node:fs';
import { type Expectations, oneOf } from './isolation-probe.ts';

/* What is right in each kind of sandbox: the first entry that fits a check decides. */

const refused = oneOf('EPERM', 'EACCES', 'EROFS', 'ENOENT');
export const anything = () => true;
const allowed = (seen: unknown) => seen !== 'EPERM' && seen !== 'EACCES';
/** All that this process may give away. */
const everyCapability = /^CapBnd:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!;
/** Watching for pressure takes writing, and is for anybody. */
const onlyPressure = (seen: unknown) => (seen as string[]).every((path) => path.startsWith('/proc/pressure/'));
const notTheHosts = (kind: string) => (seen: unknown) => seen !== readlinkSync(`/proc/self/ns/${kind}`);
export const noCapabilities = '0000000000000000';

/** Docker's fourteen, as /proc/PID/status prints them. */
export const defaultCapabilities = '00000000a80425fb';

/** What is right besides in one that has a cgroup of its own: it sees that one, and can write to nothing of it. */
export const inOwnCgroup: Expectations = [
  ['cgroup mounts', (seen) => (seen as string[]).every((line) => / (ro|rw),nosuid,nodev,noexec/.test(line))],
  ['/sys/fs/cgroup', (seen) => (seen as string[]).length > 0],
  [/^mount \/sys\/fs\/cgroup/, (seen) => /^(tmpfs|cgroup2?) nodev noexec nosuid ro$/.test(String(seen))],
];

/** What is right in a sandbox with nothing but defaults, on a host-root view. */
export const confined: Expectations = [
  // Namespaces and processes.
  ...['cgroup', 'ipc', 'mnt', 'net', 'pid', 'pid_for_children', 'uts', 'time', 'time_for_children'].map(
    (kind) => [`namespace ${kind}`, notTheHosts(kind)] as const,
  ),
  ['namespace user', () => true],
  ['pid 1', 'ns-init'],
  ['processes', ['ns-init', 'python3']],
  ['pid', 2],
  ['parent', 1],
  ['session leader', true],
  ['group leader', true],
  ['NSpid levels', 1],
  ['hostname', 'probe'],
  ['domainname', '(none)'],
  ['uid_map', ['0', '0', '4294967295']],
  ['setgroups', 'allow'],
  ['cgroup', ['/']],
  ['cgroup mounts', []],
  ['/sys/fs/cgroup', oneOf([], 'ENOENT')],
  ['SysV shared memory', 0],
  // The kernel discards signals a pid 1 has no handler for; the sandbox is still there afterwards.
  ['signal pid 1 to death', 'ok'],
  ['processes beyond pid 1', 'ok'],

  // Things of the host.
  ['reach an abstract socket of the host', 'ECONNREFUSED'],
  // The name is there in a view of the host; whoever listens has another socket.
  ['reach a socket file of the host', 'ECONNREFUSED'],
  ['write into a named pipe of the host', 'ENXIO'],

  // Mounts.
  ['mount /', oneOf('overlay nodev', 'overlay nodev nosuid')],
  ['mount /proc', 'proc nodev noexec nosuid'],
  ['mount /sys', 'sysfs nodev noexec nosuid ro'],
  ['mount /dev', 'tmpfs nodev noexec nosuid'],
  ['mount /dev/pts', 'devpts noexec nosuid'],
  ['mount /dev/shm', 'tmpfs nodev noexec nosuid'],
  [/^mount \/dev\/mqueue$/, 'mqueue nodev noexec nosuid'],
  [/^mount \/dev\/(null|zero|full|random|urandom|tty)$/, oneOf('tmpfs noexec nosuid', 'devtmpfs noexec nosuid')],
  [/^mount \/proc\/(bus|fs|irq|sys|sysrq-trigger)$/, 'proc nodev noexec nosuid ro'],
  [/^mount \/proc\/[\w-]+$/, oneOf('tmpfs noexec nosuid', 'tmpfs nodev noexec nosuid ro')],
  [/^mount \/sys\//, oneOf('tmpfs nodev noexec nosuid ro', 'tmpfs noexec nosuid')],
  // File systems of the host with data.
  [/^mount \//, (seen) => /\bnodev\b/.test(String(seen))],
  ['mounts that share events', []],
  [
    'mounts that may hold devices',
    (seen) =>
      (seen as string[]).every((target) =>
        /^\/(dev\/(pts|null|zero|full|random|urandom|tty)|proc\/[\w-]+)$/.test(target),
      ),
  ],

  // Files.
  ['/', (seen) => ['bin', 'dev', 'etc', 'proc', 'sys', 'usr'].every((name) => (seen as string[]).includes(name))],
  [/^list /, oneOf([], 'ENOENT')],
  // Where the kernel has it, a mask covers it: see what reading it gives.
  ['exists /proc/kcore', oneOf(true, false)],
  [/^exists /, false],
  [/^read \/(etc|proc)/, oneOf('', 'ENOENT', 'EACCES')],
  ['write /dev/null', 'ok'],
  ['write /dev/full', 'ENOSPC'],
  ['write to the root', 'ok'],
  ['write to a system directory', 'ok'],
  [/^write \/proc\/fs\//, oneOf('EISDIR', 'ENOENT')],
  [/^write \/(proc|sys)/, refused],
  ['writable in /proc', onlyPressure],
  ['writable in /sys', []],
  ['number of a physical page', 'hidden'],
  // It may be made more likely to be killed, never less.
  ['open /proc/1/oom_score_adj', oneOf('ok', 'EACCES')],
  ['open /proc/1/attr/current', oneOf('ok', 'EACCES', 'ENOENT')],
  // Names of descriptors, not what they are: they cannot be read or opened.
  ['open /proc/1/fd', oneOf('ok', 'EACCES')],
  [/^open \/proc\/1\//, oneOf('EACCES', 'EPERM')],
  ['open /proc/self/exe for writing', 'ETXTBSY'],
  ['programs of other processes', ['EACCES']],
  ['cwd', '/'],
  ['/proc/self/root', '/'],
  ['above the root', 'ok'],
  ['escape by chroot', 'the root of the container'],
  ['overwrite a program', 'ok'],

  // Devices.
  ['node /dev/null', 'c 1:3 666'],
  ['node /dev/zero', 'c 1:5 666'],
  ['node /dev/full', 'c 1:7 666'],
  ['node /dev/random', 'c 1:8 666'],
  ['node /dev/urandom', 'c 1:9 666'],
  ['node /dev/tty', 'c 5:0 666'],
  ['node /dev/ptmx', '-> pts/ptmx'],
  ['node /dev/pts/ptmx', 'c 5:2 666'],
  ['node /dev/stdin', '-> /proc/self/fd/0'],
  ['node /dev/stdout', '-> /proc/self/fd/1'],
  ['node /dev/stderr', '-> /proc/self/fd/2'],
  [/^read \/dev\//, 'ok'],
  ['open /dev/tty', 'ENXIO'],
  ['open /dev/ptmx', 'ok'],
  [/^use a (block|character) device made in /, oneOf('EACCES', 'EPERM')],
  // Not even its own terminal, whose only other user is whoever is attached.
  [/^TIOC(STI|LINUX) /, 'EPERM'],
  // What would redirect the machine's console.
  [/^TIOCCONS /, 'EPERM'],
  ['stdin', oneOf({ null: false, type: 'p' }, { null: true, type: 'c' })],
  ['stdin is of this /dev', true],

  // What the process was given.
  ['descriptors', [0, 1, 2]],
  ['non-blocking descriptors', []],
  ['groups', [0]],
  ['ids', [0, 0, 0, 0, 0, 0]],
  ['status Umask', '0022'],
  ['status Uid', '0\t0\t0\t0'],
  ['status Gid', '0\t0\t0\t0'],
  ['status Groups', '0'],
  ['status TracerPid', '0'],
  ['status NoNewPrivs', '1'],
  ['status Seccomp', '2'],
  ['status Seccomp_filters', '1'],
  ['status CapInh', noCapabilities],
  ['status CapPrm', defaultCapabilities],
  ['status CapEff', defaultCapabilities],
  ['status CapBnd', defaultCapabilities],
  ['status CapAmb', noCapabilities],
  [/^status Sig(Q|)$/, anything],
  [/^status Sig(Blk|Ign|Cgt|Pnd)$/, noCapabilities],
  [/^status THP/, anything],
  [
    'rlimits',
    (seen) => {
      const { RLIMIT_NOFILE, RLIMIT_CORE } = seen as Record<string, [number, number]>;
      return RLIMIT_NOFILE![0] === 1024 && RLIMIT_NOFILE![1] <= 524_288 && RLIMIT_CORE![0] === 0;
    },
  ],
  ['oom_score_adj', '0'],
  ['nice', 0],
  ['scheduler', 0],
  ['securebits', 0],
  ['keepcaps', 0],
  ['dumpable', 1],
  ['timer slack', 50_000],
  ['subreaper', 0],
  ['death signal', oneOf(0, 9)],
  ['controlling terminal', 0],

  // Network.
  ['interfaces', ['lo']],
  ['interfaces in /sys', oneOf(['lo'], 'ENOENT')],
  ['loopback', 'ok'],
  ['loopback of IPv6', oneOf('ok', 'EADDRNOTAVAIL', 'EAFNOSUPPORT')],
  ['reach another host', 'ENETUNREACH'],
  ['bind a low port', 'ok'],
  ['raw socket', 'ok'],
  ['packet socket', 'ok'],
  ['ping socket', 'ok'],
  ['change what is audited', oneOf('EPERM', 'ECONNREFUSED', 'EPROTONOSUPPORT')],
  ['change the interfaces', 'EPERM'],
  ['routes', 0],
  ['abstract sockets of others', 0],

  // System calls.
  ['syscall: clone3', 'ENOSYS'],
  ['syscall: a number of the future', 'ENOSYS'],
  // SIGSEGV: a kernel that does not run 32-bit code at all.
  [/^syscall: .* by int 0x80$/, oneOf('EPERM', 'ENOSYS', 'SIGSEGV', 'SIGSYS')],
  [/^syscall: .* by x32$/, oneOf('EPERM', 'ENOSYS', 'SIGSYS')],
  [/^syscall: /, oneOf('EPERM', 'ENOSYS')],

  // Privileges.
  ['euid of a setuid program', '65534'],
  ['capabilities of a program with file capabilities', noCapabilities],
  ['raise a hard limit', 'not allowed to raise maximum limit'],
  ['lower oom_score_adj', 'EACCES'],
  ['raise priority', oneOf('EACCES', 'EPERM')],
  ['real-time scheduling', 'EPERM'],
  ['gain a capability', 'EPERM'],
  ['set an ambient capability', 'EPERM'],
  ['trusted extended attributes', 'EPERM'],
];

/** What differs when the sandbox has a user namespace: files of the host's root are nobody's. */
export const inUserNamespace: Expectations = [
  ['namespace user', (seen) => typeof seen === 'string'],
  ['uid_map', (seen) => (seen as string[])[0] === '0'],
  ['mount /', 'overlay nodev nosuid'],
  // The host's own null device, of which root inside owns nothing.
  [
    /^mount \/(etc|proc)\/[\w-]+$/,
    oneOf(
      'devtmpfs',
      'devtmpfs nosuid',
      'tmpfs nodev nosuid',
      'tmpfs nodev noexec nosuid ro',
      'proc nodev noexec nosuid ro',
    ),
  ],
  [
    'mounts that may hold devices',
    (seen) => (seen as string[]).every((path) => /^\/(dev|proc|etc)\/[\w-]+$/.test(path)),
  ],
  [
    /^mount \/dev\/(null|zero|full|random|urandom|tty)$/,
    (seen) => /nosuid/.test(String(seen)) || /^\w+tmpfs/.test(String(seen)),
  ],
  // There, and empty.
  [/^exists \/etc\/g?shadow-?$/, () => true],
  [/^exists \/etc\/ssh\//, () => true],
  [/^write \/(proc|sys)/, oneOf('EACCES', 'EROFS', 'ENOENT', 'EISDIR', 'EPERM')],
  ['ping socket', 'EACCES'], // its range of groups is only for those with all ids
  ['open /proc/self/exe for writing', 'EACCES'],
  [/^write to a system directory$|^overwrite/, 'EACCES'],
];

/** What the kernel itself refuses to the fourteen capabilities when there is no filter: nearly all that one would. */
export const withoutFilter: Expectations = [
  // Its own terminal: there is nobody else's it could type into.
  ['TIOCSTI on a terminal of its own', oneOf('ok', 'EIO', 'EPERM')],
  ['TIOCLINUX on a terminal of its own', 'ENOTTY'],
  [/^TIOC(STI|LINUX) on stdin$/, 'ENOTTY'],
  [/^status Seccomp/, '0'],
  ["syscall: find a key of the host's session", 'ENOKEY'],
  // The kernel has one keyring for each user of a user namespace.
  ["syscall: find a key of the host's user", 'ok'],
  [
    /^syscall: (add_key|request_key|keyctl|mbind|set_mempolicy|personality .*|(unshare|clone) user|clone3|unshare by int 0x80|sysfs)$/,
    oneOf('ok', 'ENOSYS', 'SIGSEGV'),
  ],
  // Refused or nonsense, as the machine is configured.
  [/^syscall: (bpf|perf_event_open|io_uring_\w+|userfaultfd|quotactl|ustat|umount by int 0x80)$/, anything],
  [/^syscall: (setns user|unshare user with high bits set)$/, 'EINVAL'],
  [/^syscall: socket AF_/, oneOf('ok', 'EAFNOSUPPORT')],
];

/** What every capability opens, with the filter that lets through what they are good for. */
export const withEveryCapability: Expectations = [
  [/^status Cap(Prm|Eff|Bnd)$/, everyCapability],
  ['mount /dev', 'tmpfs noexec nosuid'],
  ['mounts that may hold devices', anything],
  ['number of a physical page', 'known'],
  ['writable in /proc', (seen) => (seen as string[]).every((path) => /^\/proc\/(pressure\/\w+|mtrr)$/.test(path))],
  // A sealed copy in memory: it cannot be overwritten (CVE-2019-5736).
  ['open /proc/1/exe', 'ETXTBSY'],
  ['programs of other processes', ['/memfd:ns-stage (deleted)']],
  [/^open \/proc\/1\//, oneOf('ok', 'EACCES')],
  ['change the interfaces', 'ok'],
  [/^(raise|lower|real-time|trusted|gain|set an ambient)/, anything],
  [
    /^syscall: (mount|remount|bind|unmount|fs|open_tree|move_mount|bpf|perf_event|mbind|set_mempolicy|clone|setns|take|set(host|domain)name|read|write|fanotify|seize|compare|reboot|quotactl|umount|unshare|open_by_handle)/,
    allowed,
  ],
];

/** With no filter either. */
export const withEverything: Expectations = [
  [/^syscall: (pivot_root|swapo|move pages|userfaultfd)/, allowed],
  ...withoutFilter,
  ...withEveryCapability,
];
