import { readFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { SYS, syscall, WNOHANG } from '@ns/libc';

/* When a worker thread is terminated, its processes end with it, and the kernel makes their zombies children of the main
   thread, where nobody knows of them. So whichever thread starts processes next waits for them. It knows them by their
   name: as long as its thread lives, a child of a worker is not among those of the main thread. */

const OF_A_WORKER = '/w';

/** The name of a helper process that is a child of this thread: `ns-monitor`, of a worker `ns-monitor/w`. */
export function helperName(name: string): string {
  return isMainThread ? name : name + OF_A_WORKER;
}

/** Waits for what terminated worker threads have left. Does nothing where the kernel does not list children. */
export function reapOrphans(): void {
  for (const pid of readProc(`/proc/self/task/${process.pid}/children`).split(' ')) {
    const name = readProc(`/proc/${pid}/comm`);
    if (name.startsWith('ns-') && name.endsWith(OF_A_WORKER)) syscall(SYS.wait4, Number(pid), 0, WNOHANG, 0);
  }
}

function readProc(path: string): string {
  try {
    return readFileSync(path, 'latin1').trim();
  } catch {
    return '';
  }
}
