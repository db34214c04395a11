import { AF, AT_FDCWD, CLONE, O, POLLIN, PR, RESOLVE, SOCK } from '@ns/libc';
import type { Lowering, Lowerings } from '../lowering.ts';
import { Label, Slot } from '../program.ts';
import { SIGNAL_PARENT_DIED, SIGNALS } from '../signals.ts';
import { openProcfs, writeProc } from './write-proc.ts';

// <linux/keyctl.h>, <linux/key.h>
const [KEYCTL_JOIN_SESSION_KEYRING, KEYCTL_SETPERM] = [1, 5];
const [KEY_POS_ALL, KEY_USR_VIEW, KEY_USR_READ, KEY_USR_SEARCH, KEY_USR_LINK, KEY_OTH_SEARCH] = [
  0x3f000000, 0x010000, 0x020000, 0x080000, 0x100000, 0x08,
];
const SIOCSIFFLAGS = 0x8914; // <linux/sockios.h>
const IFF_UP = 1; // <net/if.h>
const F_OK = 0; // <unistd.h>

/** The eight kinds of namespace, as `/proc/PID/ns` names them. */
export type NamespaceKind = 'mnt' | 'uts' | 'ipc' | 'pid' | 'net' | 'user' | 'cgroup' | 'time';

/** CLONE_NEW* flags by kind. */
export const namespaceFlags: Readonly<Record<NamespaceKind, number>> = {
  mnt: CLONE.NEWNS,
  uts: CLONE.NEWUTS,
  ipc: CLONE.NEWIPC,
  pid: CLONE.NEWPID,
  net: CLONE.NEWNET,
  user: CLONE.NEWUSER,
  cgroup: CLONE.NEWCGROUP,
  time: CLONE.NEWTIME,
};

/** RLIMIT_* of <asm-generic/resource.h>, in the kernel's order. */
export const rlimits = {
  cpu: 0,
  fsize: 1,
  data: 2,
  stack: 3,
  core: 4,
  rss: 5,
  nproc: 6,
  nofile: 7,
  memlock: 8,
  as: 9,
  locks: 10,
  sigpending: 11,
  msgqueue: 12,
  nice: 13,
  rtprio: 14,
  rttime: 15,
} as const;

/** Name of a resource limit, as ulimits are named: `nofile`, `nproc`, … */
export type RlimitName = keyof typeof rlimits;

/** Steps that shape the process itself. */
export type ProcessStep =
  /** Die by SIGKILL when the process (thread) that started this one ends; `parent` is its pid, when it is known. */
  | { readonly op: 'dieWithParent'; readonly parent?: number }
  /**
   * Be told when the process (thread) `parent` that started this one ends. A `clone` step's monitor then ends its child
   * and removes what would be left over: in good order, where `dieWithParent` is at once.
   */
  | { readonly op: 'endWithParent'; readonly parent: number }
  /** Be the leader of a new session without a controlling terminal: setsid(2). */
  | { readonly op: 'newSession' }
  /** The name `ps` shows: at most 15 bytes. */
  | { readonly op: 'processName'; readonly name: string }
  /** Refuse ptrace and /proc/PID/mem to everyone without CAP_SYS_PTRACE over us (CVE-2016-9962). */
  | { readonly op: 'notDumpable' }
  /** Move into a cgroup through its `cgroup.procs`. */
  | { readonly op: 'joinCgroup'; readonly procs: string }
  /** Leave namespaces for new ones. pid and time count for children only. */
  | { readonly op: 'unshare'; readonly namespaces: readonly NamespaceKind[] }
  /** Enter existing namespaces: by a pidfd (several at once) or a namespace descriptor. */
  | { readonly op: 'setns'; readonly fd: string; readonly namespaces: readonly NamespaceKind[] }
  /** Clock offsets of the time namespace that children will enter, in ns. */
  | { readonly op: 'timeOffsets'; readonly monotonicNs: number; readonly boottimeNs: number }
  /**
   * A session keyring of this name, so that the caller's keys stay the caller's: the one there is in this user namespace,
   * or else a new one. `joinableBy`: its user alone, or everybody who knows the name, such as who comes into the
   * namespace from outside and has no id there. `required: false`: no matter if the user's quota of keys is used up.
   */
  | {
      readonly op: 'sessionKeyring';
      readonly name: string;
      readonly joinableBy: 'user' | 'everybody';
      readonly required: boolean;
    }
  | { readonly op: 'oomScoreAdj'; readonly value: number }
  /** `required: false`: a limit that may not be raised stays as it is. */
  | {
      readonly op: 'rlimit';
      readonly name: RlimitName;
      readonly soft: number;
      readonly hard: number;
      readonly required: boolean;
    }
  | { readonly op: 'umask'; readonly mask: number }
  | { readonly op: 'hostname'; readonly name: string }
  | { readonly op: 'domainname'; readonly name: string }
  /** Bring a network interface up. */
  | { readonly op: 'linkUp'; readonly name: string }
  /** Later `sysctl` steps go through the procfs that is here: whichever it is, it has those of this process's namespaces. */
  | { readonly op: 'openProc' }
  /** A kernel parameter of this process's namespaces, through the container's own procfs. In `key` a slash is a dot inside a name. */
  | { readonly op: 'sysctl'; readonly key: string; readonly value: string; readonly required: boolean }
  /** The working directory, checked to be inside the root. `create`: make it when it is missing, as Docker does. */
  | { readonly op: 'workingDirectory'; readonly path: string; readonly create: boolean }
  /**
   * Look paths up and do nothing with them: the kernel then knows the way when a program is to be executed at once. What is
   * not there is no error.
   */
  | { readonly op: 'lookUp'; readonly paths: readonly string[] };

/**
 * A parent is a thread to the kernel. Of one that has died alone, getppid() does not tell; but its end of the status socket
 * has been closed with it.
 */
function jumpIfParentDied(to: Lowering, parent: number, died: Label): void {
  const { asm } = to;
  const [ppid, hungUp] = [asm.slot(), asm.slot()];
  asm.call('getppid', [], { store: ppid });
  asm.jumpIfUnequal(ppid, parent, died);
  const request = asm.words([to.statusFd]); // struct pollfd without events: POLLHUP is told in any case
  asm.call('ppoll', [request, 1, asm.words([0, 0]), 0, 0], { store: hungUp });
  asm.jumpIfUnequal(hungUp, 0, died);
}

export const processLowerings: Lowerings<ProcessStep> = {
  dieWithParent({ parent }, to) {
    const { asm } = to;
    asm.call('prctl', [PR.SET_PDEATHSIG, SIGNALS.SIGKILL]);
    const alive = new Label();
    // The parent may have died before the request was made: then no signal will ever come.
    if (parent !== undefined) {
      const died = new Label();
      jumpIfParentDied(to, parent, died);
      asm.jump(alive);
      asm.place(died);
      asm.call('exit_group', [125]);
    } else {
      // In a new pid namespace getppid says 0; the pidfd that the supervisor opened of itself tells the same.
      const ended = asm.slot();
      const request = asm.words([POLLIN * 2 ** 32]); // struct pollfd: descriptor, events
      asm.copy(request, to.handle('supervisor').address, 4);
      asm.call('ppoll', [request, 1, asm.words([0, 0]), 0, 0], { store: ended });
      asm.jumpIfEqual(ended, 0, alive);
      asm.call('exit_group', [125]);
    }
    asm.place(alive);
  },

  endWithParent({ parent }, to) {
    const { asm } = to;
    const [self, died, alive] = [asm.slot(), new Label(), new Label()];
    asm.call('prctl', [PR.SET_PDEATHSIG, SIGNAL_PARENT_DIED]);
    jumpIfParentDied(to, parent, died);
    asm.jump(alive);
    asm.place(died);
    // It died before the request was made: say it ourselves. The signal waits, being blocked.
    asm.call('getpid', [], { store: self });
    asm.call('kill', [self, SIGNAL_PARENT_DIED]);
    asm.place(alive);
  },

  newSession(_, { asm }) {
    // EPERM: already a group leader, which only a process started that way is.
    asm.call('setsid', [], { tolerate: ['EPERM'] });
  },

  processName({ name }, { asm }) {
    asm.call('prctl', [PR.SET_NAME, asm.string(name)]);
  },

  notDumpable(_, { asm }) {
    asm.call('prctl', [PR.SET_DUMPABLE, 0]);
  },

  joinCgroup({ procs }, { asm }) {
    const file = asm.slot();
    asm.call('openat', [AT_FDCWD, asm.string(procs), O.WRONLY | O.CLOEXEC | O.NOFOLLOW], { store: file });
    asm.call('write', [file, asm.string('0'), 1]);
    asm.call('close', [file]);
  },

  unshare({ namespaces }, { asm }) {
    asm.call('unshare', [namespaces.reduce((flags, kind) => flags | namespaceFlags[kind], 0)]);
  },

  setns({ fd, namespaces }, to) {
    to.asm.call('setns', [to.fd(fd), namespaces.reduce((flags, kind) => flags | namespaceFlags[kind], 0)]);
  },

  timeOffsets({ monotonicNs, boottimeNs }, { asm }) {
    const offset = (clock: string, ns: number) => `${clock} ${Math.floor(ns / 1e9)} ${((ns % 1e9) + 1e9) % 1e9}\n`;
    writeProc({ asm }, 'self/timens_offsets', offset('monotonic', monotonicNs) + offset('boottime', boottimeNs));
  },

  sessionKeyring({ name, joinableBy, required }, { asm }) {
    const keyring = asm.slot();
    const none = new Label();
    // ENOSYS: a kernel without keyrings.
    asm.call('keyctl', [KEYCTL_JOIN_SESSION_KEYRING, asm.string(name)], {
      store: keyring,
      tolerate: required ? ['ENOSYS'] : ['ENOSYS', 'EDQUOT'],
      otherwise: none,
    });
    // A new one may not be searched by who does not have it: the next to join would get another of the same name.
    const others = joinableBy === 'everybody' ? KEY_OTH_SEARCH : 0;
    const permissions = KEY_POS_ALL | KEY_USR_VIEW | KEY_USR_READ | KEY_USR_SEARCH | KEY_USR_LINK | others;
    // EACCES: one that was there, of somebody else.
    asm.call('keyctl', [KEYCTL_SETPERM, keyring, permissions], { tolerate: ['EACCES'] });
    asm.place(none);
  },

  oomScoreAdj({ value }, { asm }) {
    writeProc({ asm }, 'self/oom_score_adj', String(value));
  },

  rlimit({ name, soft, hard, required }, { asm }) {
    const limit = asm.words([soft, hard].map((value) => (value === Number.POSITIVE_INFINITY ? -1 : value)));
    asm.call('prlimit64', [0, rlimits[name], limit, 0], required ? {} : { tolerate: ['EPERM'] });
  },

  umask({ mask }, { asm }) {
    asm.call('umask', [mask]);
  },

  hostname({ name }, { asm }) {
    asm.call('sethostname', [asm.string(name), Buffer.byteLength(name)]);
  },

  domainname({ name }, { asm }) {
    asm.call('setdomainname', [asm.string(name), Buffer.byteLength(name)]);
  },

  linkUp({ name }, { asm }) {
    const socket = asm.slot();
    const request = Buffer.alloc(40); // struct ifreq: name, then flags
    request.write(name);
    request.writeUInt16LE(IFF_UP, 16);
    asm.call('socket', [AF.INET, SOCK.DGRAM | SOCK.CLOEXEC, 0], { store: socket });
    asm.call('ioctl', [socket, SIOCSIFFLAGS, asm.bytes(request)]);
    asm.call('close', [socket]);
  },

  openProc(_, to) {
    openProcfs(to, to.handle('proc'));
  },

  sysctl({ key, value, required }, to) {
    const { asm } = to;
    const file = asm.slot();
    const done = new Label();
    const options = required ? {} : { tolerate: ['ENOENT', 'EACCES'], otherwise: done };
    // Through the descriptor of the procfs we mounted, never by the path /proc, which the image could have shaped.
    const how = asm.words([O.WRONLY | O.CLOEXEC, 0, RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_XDEV]);
    asm.call(
      'openat2',
      [
        to.handle('proc'),
        asm.string(`sys/${key.replace(/[./]/g, (character) => (character === '.' ? '/' : '.'))}`),
        how,
        24,
      ],
      {
        ...options,
        store: file,
      },
    );
    asm.call('write', [file, asm.string(value), Buffer.byteLength(value)]);
    asm.call('close', [file]);
    asm.place(done);
  },

  workingDirectory({ path, create }, { asm }) {
    const parts = path.split('/').filter(Boolean);
    if (create) {
      const there = new Label();
      const missing = new Label();
      asm.call('chdir', [asm.string(path)], { tolerate: ['ENOENT'], otherwise: missing });
      asm.jump(there);
      asm.place(missing);
      parts.forEach((_, i) => {
        asm.call('mkdirat', [AT_FDCWD, asm.string(`/${parts.slice(0, i + 1).join('/')}`), 0o755], {
          tolerate: ['EEXIST', 'EROFS'],
        });
      });
      asm.place(there);
    }
    asm.call('chdir', [asm.string(path)]);
    // A directory outside the root shows as "(unreachable)/…" (CVE-2024-21626).
    const where = asm.bytes(4096);
    const inside = new Label();
    asm.call('getcwd', [where, 4096]);
    asm.jumpIfEqual(new Slot(where), '/'.charCodeAt(0), inside, 0xff);
    asm.fail('EXDEV');
    asm.place(inside);
  },

  lookUp({ paths }, { asm }) {
    for (const path of paths) asm.call('faccessat', [AT_FDCWD, asm.string(path), F_OK], { tolerate: 'any' });
  },
};
