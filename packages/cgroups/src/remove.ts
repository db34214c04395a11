import { AT_REMOVEDIR, ERRNO, holdBriefly, SyscallError, unlinkAt } from '@ns/libc';
import type { Directories } from './directories.ts';
import type { CgroupDirectory } from './directory.ts';
import { CgroupBusyError } from './errors.ts';
import type { Hierarchy } from './host.ts';
import { readOwner } from './owner.ts';
import { processesBelow } from './processes.ts';
import { openDirectory, removeDirectory } from './tree.ts';
import { waitForCgroupEvent, waitUntil } from './wait-for.ts';
import { walkBelow } from './walk.ts';

/** How long removal waits for processes that are about to end. */
const defaultTimeoutMs = 5_000;

/**
 * Removes the cgroup and its children from every tree, once nothing runs in them. Something that is gone already is
 * as good as removed.
 *
 * @param given - how many leading path components are not ours to remove, by tree
 * @throws CgroupBusyError when processes are still there at the end of the time
 */
export async function remove(
  directories: Directories,
  given: ReadonlyMap<Hierarchy, number>,
  timeoutMs: number = defaultTimeoutMs,
): Promise<void> {
  const { unified } = directories;
  if (unified && !unified.gone) await waitForCgroupEvent(unified, 'populated', 0, timeoutMs);
  for (const directory of directories.all) {
    let result = 0;
    // EBUSY for a moment after the last process was reaped is normal: its exit still holds the cgroup.
    const removed = await waitUntil(() => {
      if (!directory.gone) removeChildren(directory);
      result = directory.remove();
      return result !== -ERRNO.EBUSY;
    }, timeoutMs);
    if (!removed) throw busy(directory, timeoutMs);
    if (result < 0) throw new SyscallError('rmdir', result, { path: directory.path });
    removeEmptyParents(directory, given.get(directory.hierarchy) ?? 0);
  }
}

function removeChildren(directory: CgroupDirectory): void {
  walkBelow(directory.fd, { leave: ({ parentFd, name }) => unlinkAt(parentFd, name, AT_REMOVEDIR) });
}

/** Unmarked parents exist only for their children; rmdir(2) itself refuses those still in use. */
function removeEmptyParents({ hierarchy, components }: CgroupDirectory, given: number): void {
  for (let depth = components.length - 1; depth > given; depth--) {
    using parent = holdBriefly(() => openDirectory(hierarchy, components.slice(0, depth - 1)));
    using empty = holdBriefly(() => openDirectory(hierarchy, components.slice(0, depth)));
    if (!parent || !empty || readOwner(empty.fd) || removeDirectory(parent, components[depth - 1]!) < 0) return;
  }
}

function busy(directory: CgroupDirectory, timeoutMs: number): CgroupBusyError {
  const pids = processesBelow(directory);
  const who =
    pids.length > 0
      ? `processes ${pids.slice(0, 8).join(', ')}${pids.length > 8 ? ', …' : ''} are in it`
      : 'the kernel holds it';
  return new CgroupBusyError(directory.path, `${who} after ${timeoutMs} ms`, { hint: 'kill() ends them all' });
}
