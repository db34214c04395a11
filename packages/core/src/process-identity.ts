import { existsSync, readFileSync } from 'node:fs';
import { threadPid } from '@ns/libc';

/** A process and when it started: a pid alone may belong to another one tomorrow. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after boot: field 22 of /proc/PID/stat. */
  readonly startTime: number;
}

/** Identifies a living process; undefined when there is none, or only its zombie. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The command name may contain anything, closing parentheses included.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : { pid, startTime: Number(fields[19]) };
  } catch {
    return undefined;
  }
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
