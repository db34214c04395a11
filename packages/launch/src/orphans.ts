import { subscribe } from 'node:diagnostics_channel';
import { existsSync, readFileSync } from 'node:fs';
import { isMainThread, type Worker } from 'node:worker_threads';
import { hasCode, pidfdOpen, readProcessStat, SYS, syscall, WNOHANG, watchFd } from '@ns/libc';
import { childrenOfEndedWorkers } from './child-table.ts';

/** The name of a helper process that is a child of this thread: `ns-monitor`, of a worker `ns-monitor/w`. */
export function helperName(name: string): string {
  return isMainThread ? name : `${name}/w`;
}

/* Only the process itself can wait for its children, and of a terminated worker no code of ours runs any more: the thread that
   made the worker does it, if this library is loaded there. */
subscribe('worker_threads', (message) => {
  (message as { worker: Worker }).worker.once('exit', reapAsTheyEnd);
});

/** The processes of a worker end a little after it. */
function reapAsTheyEnd(): void {
  try {
    reapOrphans();
    for (const { pids } of childrenOfEndedWorkers(isRunning)) for (const pid of pids.keys()) reapWhenEnded(pid);
  } catch {
    // Nobody's call failed: whoever starts processes next looks again.
  }
}

/** Of these we shall hear. */
const awaited = new Set<number>();

function reapWhenEnded(pid: number): void {
  if (awaited.has(pid)) return;
  try {
    const pidfd = pidfdOpen(pid);
    const watch = watchFd(pidfd.fd, { readable: true }, () => {
      watch.close();
      pidfd.close();
      awaited.delete(pid);
      unlessExhausted(() => reap([pid]));
    });
    watch.unref();
    awaited.add(pid);
  } catch {
    // Out of descriptors, or somebody else has waited for it.
  }
}

/** One that has begun to end runs no code any more, but is listed until its children have become the main thread's. */
function isRunning(thread: number): boolean {
  const stat = isListed(thread) ? readProcessStat(thread) : undefined;
  return stat !== undefined && (stat.flags & PF_EXITING) === 0;
}

const isListed = (thread: number) => existsSync(`/proc/self/task/${thread}`);

/**
 * Waits for what terminated worker threads have left to the main thread: whoever starts processes next does so, too. Does
 * nothing where the kernel does not list children.
 */
export function reapOrphans(): void {
  unlessExhausted(() => {
    // Looking for what workers have left takes a while, and mostly nothing has ended.
    const ended = childrenOfMainThread().filter((pid) => readProcessStat(pid)?.state === 'Z');
    if (ended.length > 0) reap(ended);
  });
}

/** Nobody's call fails for want of descriptors: whoever starts processes next looks again. */
function unlessExhausted(act: () => void): void {
  try {
    act();
  } catch (error) {
    if (!hasCode(error, 'EMFILE', 'ENFILE', 'ENOMEM')) throw error;
  }
}

/** Waits for those of them that ended workers have left. */
function reap(ended: readonly number[]): void {
  for (const { pids } of childrenOfEndedWorkers(isRunning))
    for (const pid of ended) if (pids.has(pid)) syscall(SYS.wait4, pid, pids.get(pid)!, WNOHANG, 0);
  if (!isMainThread) return;
  const children = childrenOfMainThread();
  for (const { pids, release } of childrenOfEndedWorkers(isListed))
    if (!children.some((pid) => pids.has(pid))) release();
}

function childrenOfMainThread(): number[] {
  try {
    const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1');
    return children.split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

const PF_EXITING = 4; // <linux/sched.h>
