import { existsSync } from 'node:fs';
import {
  identifyProcess,
  type OwnedFd,
  type ProcessIdentity,
  pidfdSendSignal,
  readProcessStat,
  threadPid,
} from '@ns/libc';

/** Has it begun to end, or is it gone? The kernel knows before the event of it reaches us. */
export function isExiting(pid: number): boolean {
  const stat = readProcessStat(pid);
  return stat === undefined || (stat.flags & PF_EXITING) !== 0;
}

/** The same of a process that is held by a pidfd, whoever has its pid by now. */
export function isEnding({ pid, pidfd }: { pid: number | undefined; pidfd: OwnedFd | undefined }): boolean {
  return pid === undefined || !pidfd || pidfd.closed || !pidfdSendSignal(pidfd.fd, 0) || isExiting(pid);
}

/** Identifies this thread: a worker that is terminated takes its containers along, and its process lives on. */
export function identifySelf(): ProcessIdentity {
  return identifyProcess(threadPid())!;
}

/** Are both the same process, not only the same number? */
export function isSame(one: ProcessIdentity, other: ProcessIdentity): boolean {
  return one.pid === other.pid && one.startTime === other.startTime;
}

/** Is it this thread, or another of this process? */
export function isOurs({ pid }: ProcessIdentity): boolean {
  return existsSync(`/proc/self/task/${pid}`);
}

/** From include/linux/sched.h. */
const PF_EXITING = 0x4;
