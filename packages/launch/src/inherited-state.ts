import { readlinkSync } from 'node:fs';
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  allocate,
  cString,
  namespaceChanges,
  O,
  type OwnedFd,
  open,
  SYS,
  syscall,
} from '@ns/libc';

/* What a new process gets from the thread that makes it, besides descriptors and signals. A process that was made earlier
   may stand in for the thread only while all of it is the same. Looking takes some ten microseconds: the files stay open. */

interface OpenFiles {
  readonly status: OwnedFd;
  readonly cgroup: OwnedFd;
}

let files: OpenFiles | undefined;
let known: { readonly changes: number; readonly links: string | undefined } | undefined;

const page = allocate(8192);
const emptyPath = cString('');
const STATX_BASIC_STATS_AND_MNT_ID = 0x7ff + 0x1000;
const PRIO_PROCESS = 0;

/**
 * Credentials, capabilities, no_new_privs, seccomp, umask, allowed processors (all /proc/thread-self/status), namespaces,
 * cgroups, working directory and priority of the calling thread: equal texts mean the same.
 *
 * @returns undefined when it cannot be told, or when a new process would be born into another pid namespace
 */
export function inheritedState(): string | undefined {
  try {
    files ??= openFiles();
    if (known?.changes !== namespaceChanges()) known = { changes: namespaceChanges(), links: namespaceLinks() };
    if (known.links === undefined) return undefined;
    const status = contentOf(files.status);
    return [
      lineOf(status, 'Umask:'),
      lineOf(status, 'Uid:'),
      lineOf(status, 'Gid:'),
      lineOf(status, 'Groups:'),
      // From the capabilities on, all but the last lines, which count.
      status.slice(status.indexOf('\nCapInh:'), status.indexOf('\nvoluntary_ctxt_switches:')),
      contentOf(files.cgroup),
      workingDirectory(),
      syscall(SYS.getpriority, PRIO_PROCESS, 0),
      known.links,
    ].join('\n');
  } catch {
    return undefined;
  }
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
  files?.status.close();
  files?.cgroup.close();
  files = undefined;
}

function contentOf({ fd }: OwnedFd): string {
  const size = syscall(SYS.pread64, fd, page.address, page.bytes.length, 0);
  if (size <= 0 || size === page.bytes.length) throw new Error('unreadable');
  return page.bytes.toString('latin1', 0, size);
}

function lineOf(text: string, name: string): string {
  const at = text.indexOf(`\n${name}`);
  return text.slice(at, text.indexOf('\n', at + 1));
}

/** Device, inode and mount: a path may have come to mean another directory. */
function workingDirectory(): string {
  const flags = AT_EMPTY_PATH;
  if (syscall(SYS.statx, AT_FDCWD, emptyPath.address, flags, STATX_BASIC_STATS_AND_MNT_ID, page.address) < 0)
    throw new Error('unreachable');
  const { bytes } = page; // struct statx: ino at 32, dev at 136, mnt_id at 144
  return `${bytes.readBigUInt64LE(32)} ${bytes.readBigUInt64LE(136)} ${bytes.readBigUInt64LE(144)}`;
}

function namespaceLinks(): string | undefined {
  const link = (kind: string) => {
    try {
      return readlinkSync(`/proc/thread-self/ns/${kind}`);
    } catch {
      return ''; // a kind this kernel does not have
    }
  };
  if (link('pid') !== link('pid_for_children')) return undefined;
  return ['user', 'mnt', 'net', 'uts', 'ipc', 'cgroup', 'pid', 'time_for_children'].map(link).join(' ');
}
