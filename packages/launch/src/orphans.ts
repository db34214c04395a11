import { existsSync, readFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { readProcessStat, SYS, syscall, WNOHANG } from '@ns/libc';
import { childrenOfEndedWorkers } from './child-table.ts';

/** The name of a helper process that is a child of this thread: `ns-monitor`, of a worker `ns-monitor/w`. */
export function helperName(name: string): string {
  return isMainThread ? name : `${name}/w`;
}

/**
 * Waits for what terminated worker threads have left to the main thread: whoever starts processes next does so. Does nothing
 * where the kernel does not list children.
 */
export function reapOrphans(): void {
  const children = childrenOfMainThread();
  // Looking for what workers have left takes a while, and mostly nothing has ended.
  const ended = children.filter((pid) => readProcessStat(pid)?.state === 'Z');
  if (ended.length === 0) return;
  for (const { pids, release } of childrenOfEndedWorkers((thread) => existsSync(`/proc/self/task/${thread}`))) {
    for (const pid of ended) if (pids.has(pid)) syscall(SYS.wait4, pid, pids.get(pid)!, WNOHANG, 0);
    if (isMainThread && !children.some((pid) => pids.has(pid) && existsSync(`/proc/${pid}`))) release();
  }
}

function childrenOfMainThread(): number[] {
  try {
    const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1');
    return children.split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}
