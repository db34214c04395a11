import { ERRNO, type OwnedFd, readProcessStat, SyscallError } from '@ns/libc';
import { readControlFile, writeControlFileAside } from './control-file.ts';
import { CgroupBusyError } from './errors.ts';
import type { Hierarchy } from './host.ts';
import { parseHierarchyPath } from './name.ts';
import { makeDirectory, openDirectory } from './tree.ts';

/** Where processes go that stood in the way of children. */
const ownLeaf = 'ns-owner';

/**
 * Moves this process and its descendants from their v2 cgroup into the child `ns-owner`, so that the cgroup may hand
 * its controllers to other children. Needed where one's own cgroup is all one has: in a container with a cgroup
 * namespace, or under systemd with `Delegate=yes`.
 *
 * @throws CgroupBusyError when the cgroup holds processes that are not ours to move
 */
export async function vacateOwnCgroup(hierarchy: Hierarchy, directory: OwnedFd): Promise<void> {
  const path = hierarchy.mountPoint + hierarchy.ownPath;
  const text = readControlFile(directory.fd, 'cgroup.procs');
  const pids = typeof text === 'string' ? text.trim().split('\n').filter(Boolean).map(Number) : [];
  const strangers = pids.filter((pid) => !isOwnDescendant(pid));
  if (strangers.length > 0) {
    throw new CgroupBusyError(
      path,
      `it holds processes that are not of this one (${strangers.slice(0, 8).join(', ')})`,
      {
        hint: 'Start this process in a cgroup of its own: systemd-run --scope -p Delegate=yes COMMAND, or move the others to a child cgroup first',
      },
    );
  }
  makeDirectory(directory, ownLeaf, `${path}/${ownLeaf}`);
  using leaf = openDirectory(hierarchy, [...parseHierarchyPath(hierarchy.ownPath), ownLeaf]);
  if (!leaf) return;
  for (const pid of pids) {
    const result = await writeControlFileAside(leaf.fd, 'cgroup.procs', String(pid));
    if (result < 0 && result !== -ERRNO.ESRCH)
      throw new SyscallError('write', result, { path: `${path}/${ownLeaf}/cgroup.procs` });
  }
}

function isOwnDescendant(pid: number): boolean {
  for (let current = pid; current > 1; ) {
    if (current === process.pid) return true;
    const parent = readProcessStat(current)?.parent;
    if (parent === undefined) return true; // gone meanwhile: nothing to move
    current = parent;
  }
  return pid === process.pid;
}
