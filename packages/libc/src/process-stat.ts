import { readFileSync } from 'node:fs';
import { hasCode } from './errors.ts';
import { fileCall } from './file-call.ts';
import { holdBriefly } from './spare-descriptors.ts';

/** A part of `/proc/PID/stat`. */
export interface ProcessStat {
  /** One letter, as proc_pid_stat(5) has them: `R`, `S`, `D`, `T`, `Z`, … */
  readonly state: string;
  /** Pid of its parent, 0 for one outside our pid namespace. */
  readonly parent: number;
  /** `PF_…` of include/linux/sched.h. */
  readonly flags: number;
  /** When it started, in clock ticks after the machine did. */
  readonly startTime: number;
}

/** A process, told apart from a later one with the same pid by when it started. */
export interface ProcessIdentity {
  readonly pid: number;
  /** In clock ticks after the machine's start: field 22 of `/proc/PID/stat`. */
  readonly startTime: number;
}

/**
 * What the kernel tells of a process, or of a thread by its id. Zombies are processes.
 *
 * @returns `undefined` when there is none, or none that we may see (proc mounted with `hidepid`)
 * @throws SyscallError `EMFILE`, `ENFILE`, `ENOMEM`: nobody can tell now, and who is not seen may live
 *
 * @example
 * ```ts
 * const parent = readProcessStat(process.pid)!.parent; // process.ppid
 * ```
 */
export function readProcessStat(pid: number): ProcessStat | undefined {
  const path = `/proc/${pid}/stat`;
  let stat: string;
  try {
    stat = fileCall(path, () => holdBriefly(() => readFileSync(path, 'latin1')));
  } catch (error) {
    if (hasCode(error, 'EMFILE', 'ENFILE', 'ENOMEM')) throw error;
    return undefined;
  }
  // The name, field 2, may contain anything, closing parentheses too; what follows its last one does not.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0]!, parent: Number(fields[1]), flags: Number(fields[6]), startTime: Number(fields[19]) };
}

/**
 * Identifies a process, or a thread by its id, so that it can be recognized later and elsewhere.
 *
 * @returns `undefined` when there is none, or only its zombie: whose parent does not wait, it stays one for ever
 *
 * @example
 * ```ts
 * const owner = identifyProcess(process.pid)!;
 * const ownerLives = isAlive(owner); // until it ends, whoever has its pid then
 * ```
 */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const stat = readProcessStat(pid);
  return stat === undefined || stat.state === 'Z' || stat.state === 'X'
    ? undefined
    : { pid, startTime: stat.startTime };
}

/** Whether that very process still runs. Needs no privilege. */
export function isAlive({ pid, startTime }: ProcessIdentity): boolean {
  return identifyProcess(pid)?.startTime === startTime;
}
