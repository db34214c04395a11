import { readFileSync } from 'node:fs';
import { ERRNO, SyscallError } from '@ns/libc';

/** A process, told apart from a later one with the same pid by when it started. */
export interface ProcessIdentity {
  readonly pid: number;
  /** In clock ticks after the machine's start: field 22 of `/proc/PID/stat`. */
  readonly startTime: number;
}

/**
 * The identity of a process that is there now.
 *
 * @throws SyscallError `ESRCH` when it is not
 */
export function identify(pid: number): ProcessIdentity {
  const startTime = startTimeOf(pid);
  if (startTime === undefined) throw new SyscallError('open', ERRNO.ESRCH, { path: `/proc/${pid}/stat` });
  return { pid, startTime };
}

/** Whether that very process still exists. */
export function isAlive({ pid, startTime }: ProcessIdentity): boolean {
  return startTimeOf(pid) === startTime;
}

function startTimeOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name, field 2, may contain anything, closing parentheses too; what follows its last one does not.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  } catch {
    return undefined;
  }
}
