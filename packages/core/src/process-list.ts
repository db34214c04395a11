import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { holdBriefly } from '@ns/libc';

/** A process of a container. */
export interface ProcessInfo {
  /** In the container. */
  readonly pid: number;
  /** On the host. */
  readonly hostPid: number;
  /** On the host. */
  readonly parentPid: number;
  /** R, S, D, T, Z, …: proc_pid_status(5). */
  readonly state: string;
  /** Real user id on the host. */
  readonly uid: number;
  /** The real user as `ps` inside shows it: its name in the container's /etc/passwd, else its number there. */
  readonly user: string;
  /** Real group id on the host. */
  readonly gid: number;
  /** At most 15 bytes: `/proc/PID/comm`. */
  readonly name: string;
  /** Program and arguments, the first 4 KiB of them: `/proc/PID/cmdline`. Empty for a zombie. */
  readonly command: readonly string[];
  /** Memory that is in RAM: `VmRSS`. Undefined for a zombie. */
  readonly residentBytes: number | undefined;
}

/**
 * Describes processes given by their host pids; those that ended meanwhile are left out.
 *
 * @param userOf - what a user id of the host is called inside
 */
export async function describeProcesses(
  hostPids: readonly number[],
  userOf: (hostUid: number) => string,
): Promise<ProcessInfo[]> {
  const described: ProcessInfo[] = [];
  for (const [index, hostPid] of hostPids.entries()) {
    // As many as the container likes.
    if (index % EACH_TURN === EACH_TURN - 1) await nextTurn();
    const process = describeProcess(hostPid, userOf);
    if (process) described.push(process);
  }
  return described;
}

/** So many are described before others get a turn. */
const EACH_TURN = 32;

function describeProcess(hostPid: number, userOf: (hostUid: number) => string): ProcessInfo | undefined {
  try {
    const status = readFileSync(`/proc/${hostPid}/status`, 'utf8');
    const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
    const first = (name: string) => Number(field(name).split(/\s+/)[0]);
    const resident = /^VmRSS:\s*(\d+)/m.exec(status)?.[1];
    return {
      pid: Number(field('NSpid').split(/\s+/).at(-1)),
      hostPid,
      parentPid: first('PPid'),
      state: field('State').slice(0, 1),
      uid: first('Uid'),
      user: userOf(first('Uid')),
      gid: first('Gid'),
      name: field('Name'),
      command: readCommand(hostPid),
      residentBytes: resident === undefined ? undefined : Number(resident) * 1024,
    };
  } catch {
    return undefined;
  }
}

/** Its beginning: a program may have megabytes of arguments, which cost it nothing in each of its children. */
function readCommand(hostPid: number): string[] {
  const fd = openSync(`/proc/${hostPid}/cmdline`, 'r');
  try {
    const bytes = Buffer.alloc(COMMAND_BYTES);
    const text = bytes.toString('utf8', 0, readSync(fd, bytes, 0, COMMAND_BYTES, 0));
    return text === '' ? [] : text.replace(/\0+$/, '').split('\0');
  } finally {
    closeSync(fd);
  }
}

const COMMAND_BYTES = 4096;

/** Host pids of a process and of all below it. */
export function descendantsOf(hostPid: number): number[] {
  return [hostPid, ...childrenOf(hostPid).flatMap(descendantsOf)];
}

/**
 * Host pids of all processes in the pid namespace of a container, given by its first process: for containers without a cgroup.
 * Commands that were executed later are nobody's children inside, so each is found by its namespace, and what is below it
 * by descent, since a process may be in a namespace below or refuse to be looked at.
 */
export function processesAround(hostPid: number): number[] {
  const below = descendantsOf(hostPid);
  // The first process of an ordinary user's container does not show its namespaces; its program does.
  const namespace = below.map(pidNamespaceOf).find((name) => name !== undefined);
  if (namespace === undefined) return below;
  const others = readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pidNamespaceOf(pid) === namespace);
  return [...new Set([...below, ...others.flatMap(descendantsOf)])];
}

function pidNamespaceOf(hostPid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${hostPid}/ns/pid`);
  } catch {
    return undefined;
  }
}

/** Children of a process: of all its threads, any of which may have made some. Needs CONFIG_PROC_CHILDREN. */
export function childrenOf(hostPid: number): number[] {
  try {
    return holdBriefly(() => readdirSync(`/proc/${hostPid}/task`)).flatMap((thread) =>
      holdBriefly(() => readFileSync(`/proc/${hostPid}/task/${thread}/children`, 'utf8'))
        .split(' ')
        .filter(Boolean)
        .map(Number),
    );
  } catch {
    return [];
  }
}
