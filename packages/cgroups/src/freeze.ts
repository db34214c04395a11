import { UnavailableError } from '@ns/libc';
import type { Directories } from './directories.ts';
import type { CgroupDirectory } from './directory.ts';
import { CgroupBusyError } from './errors.ts';
import { waitForCgroupEvent, waitUntil } from './wait-for.ts';

/** How long a process may take to stop: it must first leave the kernel, where a slow disk or NFS can hold it. */
const defaultTimeoutMs = 10_000;

/** Stops every process of the cgroup and below, and waits until they stand still. */
export async function freeze(directories: Directories, timeoutMs: number = defaultTimeoutMs): Promise<void> {
  const unified = directories.unified;
  if (unified?.write('cgroup.freeze', '1')) {
    if (await waitForCgroupEvent(unified, 'frozen', 1, timeoutMs)) return;
    unified.write('cgroup.freeze', '0');
    throw stuck(unified, timeoutMs);
  }
  const freezer = v1Freezer(directories);
  freezer.write('freezer.state', 'FROZEN');
  // FREEZING can need asking again: a process that forks meanwhile can slip through the first time (runc#2774).
  const frozen = await waitUntil(() => {
    if (freezer.read('freezer.state')?.trim() === 'FROZEN') return true;
    freezer.write('freezer.state', 'FROZEN');
    return false;
  }, timeoutMs);
  if (frozen) return;
  freezer.write('freezer.state', 'THAWED');
  throw stuck(freezer, timeoutMs);
}

/** Lets them run again. */
export async function thaw(directories: Directories, timeoutMs: number = defaultTimeoutMs): Promise<void> {
  const unified = directories.unified;
  if (unified?.write('cgroup.freeze', '0')) {
    await waitForCgroupEvent(unified, 'frozen', 0, timeoutMs);
    return;
  }
  v1Freezer(directories).write('freezer.state', 'THAWED');
}

/** Whether the cgroup is frozen, itself or by a parent. */
export function isFrozen(directories: Directories): boolean {
  const events = directories.unified?.read('cgroup.events');
  if (events?.includes('frozen ')) return events.includes('frozen 1');
  return directories.of('freezer')?.read('freezer.state')?.trim() === 'FROZEN';
}

function v1Freezer(directories: Directories): CgroupDirectory {
  const freezer = directories.of('freezer');
  if (freezer) return freezer;
  throw new UnavailableError(
    'freezing a cgroup',
    'there is neither cgroup.freeze (Linux 5.2) nor the v1 freezer controller',
    'Mount it: mount -t cgroup -o freezer freezer /sys/fs/cgroup/freezer',
  );
}

function stuck(directory: CgroupDirectory, timeoutMs: number): CgroupBusyError {
  return new CgroupBusyError(directory.path, `not all of its processes froze within ${timeoutMs} ms`, {
    hint: 'Likely one is in uninterruptible sleep (state D in /proc/PID/status)',
  });
}
