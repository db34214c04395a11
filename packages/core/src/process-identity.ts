import { existsSync, readFileSync } from 'node:fs';
import { type OwnedFd, pidfdSendSignal, threadPid } from '@ns/libc';

/** A process and when it started: a pid alone may belong to another one tomorrow. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after boot: field 22 of /proc/PID/stat. */
  readonly startTime: number;
}

/** Identifies a living process; undefined when there is none, or only its zombie. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  try {
    const fields = statFields(pid);
    return fields[0] === 'Z' ? undefined : { pid, startTime: Number(fields[19]) };
  } catch {
    return undefined;
  }
}

/** Has it begun to end, or is it gone? The kernel knows before the event of it reaches us. */
export function isExiting(pid: number): boolean {
  try {
    return (Number(statFields(pid)[6]) & PF_EXITING) !== 0;
  } catch {
    return true;
  }
}

/** The same of a process that is held by a pidfd, whoever has its pid by now. */
export function isEnding({ pid, pidfd }: { pid: number | undefined; pidfd: OwnedFd | undefined }): boolean {
  return pid === undefined || !pidfd || pidfd.closed || !pidfdSendSignal(pidfd.fd, 0) || isExiting(pid);
}

/** Identifies this thread: a worker that is terminated takes its containers along, and its process lives on. */
export function identifySelf(): ProcessIdentity {
  return identifyProcess(threadPid())!;
}

/** Is it this thread, or another of this process? */
export function isOurs({ pid }: ProcessIdentity): boolean {
  return existsSync(`/proc/self/task/${pid}`);
}

/** Is it still that process? */
export function isAlive({ pid, startTime }: ProcessIdentity): boolean {
  return identifyProcess(pid)?.startTime === startTime;
}

/** Of /proc/PID/stat, the third and those after it. */
function statFields(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The command name may contain anything, closing parentheses included.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** From include/linux/sched.h. */
const PF_EXITING = 0x4;
