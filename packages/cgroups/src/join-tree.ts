import { holdBriefly, SyscallError } from '@ns/libc';
import type { Directories } from './directories.ts';
import { CgroupDirectory } from './directory.ts';
import { CgroupBusyError, CgroupExistsError } from './errors.ts';
import { makeLeaf } from './make-leaf.ts';
import { readOwner } from './owner.ts';
import type { PlannedDirectory } from './plan.ts';
import { processesBelow } from './processes.ts';
import { openDirectory } from './tree.ts';

/**
 * Brings a cgroup into one more v1 tree, with the processes in it and below. Those below are in the cgroup itself there: v1
 * allows that.
 */
export async function joinTree(directories: Directories, planned: PlannedDirectory): Promise<void> {
  const joined = findInTree(planned) ?? (await makeInTree(directories, planned));
  // First of all, so that it goes with the rest whatever happens next.
  directories.add(joined);
  await moveAll(directories.control, joined);
}

/** Its directory in a tree that another process has brought it into, or undefined. */
export function findInTree({ hierarchy, place, name }: PlannedDirectory): CgroupDirectory | undefined {
  const components = [...place.components, ...name];
  const fd = holdBriefly(() => openDirectory(hierarchy, components));
  return fd && new CgroupDirectory(hierarchy, components, fd);
}

async function makeInTree({ control }: Directories, planned: PlannedDirectory): Promise<CgroupDirectory> {
  try {
    return (await makeLeaf(planned, readOwner(control.fd) ?? 'none')).directory;
  } catch (error) {
    const found = error instanceof CgroupExistsError ? findInTree(planned) : undefined;
    if (found) return found;
    throw error;
  }
}

/** What is forked meanwhile is met in the next round; whoever has been moved forks over there. */
const rounds = 100;

async function moveAll(from: CgroupDirectory, to: CgroupDirectory): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const moved = new Set(processesBelow(to));
    const others = processesBelow(from).filter((pid) => !moved.has(pid));
    if (others.length === 0) return;
    for (const pid of others) await moveOne(pid, to);
  }
  throw new CgroupBusyError(to.path, 'processes are made in it faster than they can be moved', {
    hint: 'Freeze it meanwhile, or bound its processes (pids.max) from the beginning',
  });
}

async function moveOne(pid: number, to: CgroupDirectory): Promise<void> {
  try {
    await to.writeAside('cgroup.procs', String(pid));
  } catch (error) {
    // It has ended.
    if (!(error instanceof SyscallError && error.code === 'ESRCH')) throw error;
  }
}
