import type { Directories } from './directories.ts';
import { CgroupBusyError, CgroupGoneError } from './errors.ts';
import { processesBelow } from './processes.ts';
import { holdsNow, waitForCgroupEvent, waitUntil } from './wait-for.ts';

/** How long the kernel may take to end killed processes; freeing much memory takes time. */
const defaultTimeoutMs = 10_000;

/**
 * Kills every process of the cgroup and below, and waits until none is left. Nothing that forks meanwhile escapes:
 * `cgroup.kill` (since 5.14) marks the cgroup, the fallback freezes it first.
 */
export async function kill(directories: Directories, timeoutMs: number = defaultTimeoutMs): Promise<void> {
  const { unified } = directories;
  try {
    // To look costs half as much as to write.
    if (unified && holdsNow(unified, 'populated', 0)) return;
    if (unified?.write('cgroup.kill', '1')) {
      // A frozen process dies of cgroup.kill as well, so there is no need to thaw.
      if (await waitForCgroupEvent(unified, 'populated', 0, timeoutMs)) return;
    } else if (await killOneByOne(directories, timeoutMs)) return;
  } catch (error) {
    if (error instanceof CgroupGoneError) return; // removed means empty
    throw error;
  }
  throw new CgroupBusyError(directories.control.path, `killed processes are still there after ${timeoutMs} ms`, {
    hint: 'Likely one is in uninterruptible sleep (state D in /proc/PID/status)',
  });
}

async function killOneByOne(directories: Directories, timeoutMs: number): Promise<boolean> {
  const { control, unified } = directories;
  const freezer = directories.of('freezer');
  const setFrozen = (frozen: 'frozen' | 'thawed'): void => {
    if (unified) unified.write('cgroup.freeze', frozen === 'frozen' ? '1' : '0');
    else freezer?.write('freezer.state', frozen === 'frozen' ? 'FROZEN' : 'THAWED');
  };
  try {
    return await waitUntil(() => {
      // A pid read here and signalled below cannot have been reused: frozen processes neither fork nor exit. Without a
      // freezer the rounds go on until nobody is left, and a fork is met in the next one.
      setFrozen('frozen');
      const pids = processesBelow(control);
      for (const pid of pids) signalKill(pid);
      setFrozen('thawed'); // v1 keeps even SIGKILL waiting while frozen
      return pids.length === 0;
    }, timeoutMs);
  } finally {
    if (!control.gone) setFrozen('thawed');
  }
}

function signalKill(pid: number): void {
  // 0 stands for a process outside our pid namespace, and kill(0) would hit our own process group.
  if (pid <= 0) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}
