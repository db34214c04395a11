import type { Directories } from './directories.ts';
import { parseFlatKeyed } from './keyed-files.ts';
import { sumBelow } from './walk.ts';

/**
 * How many processes of this very cgroup, children not counted, the kernel killed for memory. The verdict "out of
 * memory" is this number, read before the cgroup is removed: an exit status of 137 says only SIGKILL.
 *
 * Counted whether its own limit, a parent's or the machine's memory was the cause. v2: `memory.events.local` (since
 * 5.2; before, `memory.events`, the same in a cgroup without children); v1: `memory.oom_control` (since 4.13).
 *
 * @returns `undefined` when the cgroup is not in the memory controller's tree or was removed
 */
export function oomKills(directories: Directories): number | undefined {
  const memory = directories.of('memory');
  if (!memory || memory.gone) return undefined;
  const files = memory.hierarchy.version === 2 ? ['memory.events.local', 'memory.events'] : ['memory.oom_control'];
  for (const file of files) {
    const count = killsIn(memory.read(file));
    if (count !== undefined) return count;
  }
  return undefined;
}

/**
 * The same with the children: what became of processes that made cgroups of their own and went into them. v2:
 * `memory.events`, in which those of removed children stay; v1: `memory.oom_control` of each that is there.
 */
export function oomKillsBelow(directories: Directories): number | undefined {
  const memory = directories.of('memory');
  if (!memory || memory.gone) return undefined;
  if (memory.hierarchy.version === 2) return killsIn(memory.read('memory.events'));
  const own = killsIn(memory.read('memory.oom_control'));
  return own === undefined ? undefined : own + sumBelow(memory.fd, 'memory.oom_control', killsIn);
}

function killsIn(text = ''): number | undefined {
  return parseFlatKeyed(text).get('oom_kill');
}
