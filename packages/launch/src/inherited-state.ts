import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  allocate,
  cString,
  IdleTimer,
  namespaceChanges,
  O,
  type OwnedFd,
  open,
  SYS,
  syscall,
} from '@ns/libc';
import { hasChildrenElsewhere, namespaceLink } from './thread-namespaces.ts';

/* What a new process gets from the thread that makes it, besides descriptors and signals. A process that was made earlier
   may stand in for the thread only while all of it is the same. Looking takes some ten microseconds: the files stay open. */

interface OpenFiles {
  readonly status: OwnedFd;
  readonly cgroup: OwnedFd;
}

let files: OpenFiles | undefined;
const idle = new IdleTimer(() => 500, forgetInheritedState);
let namespaces: { readonly changes: number; readonly links: string | undefined } | undefined;
let last: { readonly bytes: Buffer; readonly parts: readonly Part[]; readonly state: string } | undefined;

/** Bytes that decide. */
interface Part {
  readonly from: number;
  readonly to: number;
}

// What is read, one behind the other; the last is a priority in 32 bits.
const STATUS = 0;
const CGROUP = 8192;
const DIRECTORY = CGROUP + 8192;
const PRIORITY = DIRECTORY + 256;
const page = allocate(PRIORITY + 4);
const emptyPath = cString('');
const STATX_BASIC_STATS_AND_MNT_ID = 0x7ff + 0x1000;
const PRIO_PROCESS = 0;

/** Device, inode and mount of the working directory, in struct statx: a path may have come to mean another one. */
const directoryParts: readonly Part[] = [
  { from: DIRECTORY + 32, to: DIRECTORY + 40 },
  { from: DIRECTORY + 136, to: DIRECTORY + 152 },
];
const priorityPart: Part = { from: PRIORITY, to: PRIORITY + 4 };

/** Lines of `/proc/PID/status` that decide, from the first up to the second and with the name of that. */
const statusLines = [
  ['\nUmask:', '\nState:'],
  ['\nUid:', '\nFDSize:'],
  ['\nGroups:', '\nNStgid:'],
  ['\nCapInh:', '\nvoluntary_ctxt_switches:'],
] as const;

/**
 * Credentials, capabilities, no_new_privs, seccomp, umask, allowed processors (all /proc/thread-self/status), namespaces,
 * cgroups, working directory and priority of the calling thread: equal texts mean the same.
 *
 * @returns undefined when it cannot be told, or when a new process would be born into another pid namespace
 */
export function inheritedState(): string | undefined {
  idle.use();
  try {
    files ??= openFiles();
    if (namespaces?.changes !== namespaceChanges()) {
      namespaces = { changes: namespaceChanges(), links: namespaceLinks() };
      last = undefined;
    }
    if (namespaces.links === undefined) return undefined;
    const status = { from: STATUS, to: read(files.status, STATUS) };
    const cgroup = { from: CGROUP, to: read(files.cgroup, CGROUP) };
    readDirectory();
    page.bytes.writeInt32LE(syscall(SYS.getpriority, PRIO_PROCESS, 0), PRIORITY);
    if (!last?.parts.every((part) => isSame(part, last!.bytes))) {
      const parts = [...partsOf(status), cgroup, ...directoryParts, priorityPart];
      const text = parts.map(({ from, to }) => page.bytes.toString('latin1', from, to));
      last = { bytes: Buffer.from(page.bytes), parts, state: [...text, namespaces.links].join('\n') };
    }
    return last.state;
  } catch {
    return undefined;
  }
}

function isSame({ from, to }: Part, bytes: Buffer): boolean {
  return page.bytes.compare(bytes, from, to, from, to) === 0;
}

function partsOf(status: Part): Part[] {
  const text = page.bytes.toString('latin1', status.from, status.to);
  return statusLines.map(([first, next]) => {
    const to = text.indexOf(next);
    if (to < 0) throw new Error('unreadable');
    return { from: status.from + text.indexOf(first), to: status.from + to + next.length };
  });
}

function openFiles(): OpenFiles {
  const status = open('/proc/thread-self/status', O.RDONLY);
  try {
    return { status, cgroup: open('/proc/thread-self/cgroup', O.RDONLY) };
  } catch (error) {
    status.close();
    throw error;
  }
}

/** Closes what {@link inheritedState} keeps open. */
export function forgetInheritedState(): void {
  idle.stop();
  files?.status.close();
  files?.cgroup.close();
  files = undefined;
  last = undefined;
}

/** Reads a file to a place of the page; what is behind its end is zero, so that a longer one is another. */
function read({ fd }: OwnedFd, at: number): number {
  const size = syscall(SYS.pread64, fd, page.address + at, 8191, 0);
  if (size <= 0 || size === 8191) throw new Error('unreadable');
  page.bytes[at + size] = 0;
  return at + size + 1;
}

function readDirectory(): void {
  const [flags, mask] = [AT_EMPTY_PATH, STATX_BASIC_STATS_AND_MNT_ID];
  if (syscall(SYS.statx, AT_FDCWD, emptyPath.address, flags, mask, page.address + DIRECTORY) < 0)
    throw new Error('unreachable');
}

function namespaceLinks(): string | undefined {
  if (hasChildrenElsewhere()) return undefined;
  return ['user', 'mnt', 'net', 'uts', 'ipc', 'cgroup', 'pid', 'time_for_children'].map(namespaceLink).join(' ');
}
