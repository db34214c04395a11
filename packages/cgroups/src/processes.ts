import { closeFd, O, openAt, readDirectory, S, SyscallError } from '@ns/libc';
import { readControlFile } from './control-file.ts';
import type { CgroupDirectory } from './directory.ts';
import { parsePids } from './keyed-files.ts';

/**
 * Processes of a cgroup and of all beneath it. A process of a pid namespace we do not see is 0.
 *
 * @throws CgroupGoneError when the cgroup was removed
 */
export function processesBelow(directory: CgroupDirectory): number[] {
  const own = parsePids(directory.read('cgroup.procs') ?? '');
  return [...own, ...processesOfChildren(directory.fd)];
}

function processesOfChildren(directoryFd: number): number[] {
  return childDirectories(directoryFd).flatMap((name) => {
    const fd = openAt(directoryFd, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
    if (fd < 0) return []; // removed meanwhile
    const text = readControlFile(fd, 'cgroup.procs');
    const pids = [...(typeof text === 'string' ? parsePids(text) : []), ...processesOfChildren(fd)];
    closeFd(fd);
    return pids;
  });
}

/** Names of the child cgroups of an open directory. */
export function childDirectories(directoryFd: number): string[] {
  // A descriptor of its own, because reading a directory moves the position all holders share.
  const fd = openAt(directoryFd, '.', O.RDONLY | O.DIRECTORY);
  if (fd < 0) return [];
  try {
    return readDirectory(fd)
      .filter((entry) => entry.type === S.IFDIR >> 12)
      .map((entry) => entry.name);
  } catch (error) {
    // Removed since it was opened: then it has no children.
    if (error instanceof SyscallError && error.code === 'ENOENT') return [];
    throw error;
  } finally {
    closeFd(fd);
  }
}
