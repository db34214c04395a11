import { readControlFile } from './control-file.ts';
import type { CgroupDirectory } from './directory.ts';
import { parsePids } from './keyed-files.ts';
import { walkBelow } from './walk.ts';

/**
 * Processes of a cgroup and of all beneath it. A process of a pid namespace we do not see is 0.
 *
 * @throws CgroupGoneError when the cgroup was removed
 */
export function processesBelow(directory: CgroupDirectory): number[] {
  const pids = parsePids(directory.read('cgroup.procs') ?? '');
  walkBelow(directory.fd, {
    enter(fd) {
      const text = readControlFile(fd, 'cgroup.procs');
      if (typeof text === 'string') for (const pid of parsePids(text)) pids.push(pid);
      return true;
    },
  });
  return pids;
}
