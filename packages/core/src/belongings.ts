import { dirname, join } from 'node:path';
import { planCgroup } from '@ns/cgroups';
import type { Belongings } from '@ns/launch';
import { NsError, stateRoot } from '@ns/libc';
import { removedDirectory } from './container-state.ts';
import { markPath } from './network/owner-mark.ts';
import { containerDirectory } from './state-root.ts';
import type { ContainerSpec } from './types.ts';
import { mayHoldIds } from './user-namespace.ts';
import { volumeUseFile, volumeUser } from './volume-store.ts';

/** What is kept of a container, from its making to its removal, and has to go when its owner dies. Its name is not among it. */
export function recordBelongings(id: string, spec: ContainerSpec): Belongings {
  const directory = containerDirectory(id);
  return {
    files: mayHoldIds(spec) ? leaseFiles(id) : [],
    directories: [directory, removedDirectory(id)],
    parents: [dirname(directory)],
  };
}

/** The same of one run: what it holds outside of its processes. */
export function runBelongings(
  id: string,
  { mounts = [], ...spec }: ContainerSpec,
  lent: { ids?: unknown },
): Belongings {
  const cgroups = cgroupPaths(id);
  const user = mounts.some(({ type }) => type === 'volume') ? volumeUser(id) : '';
  return {
    files: [
      ...(mayHoldIds(spec) && !lent.ids ? leaseFiles(id) : []),
      ...mounts.flatMap((mount) => (mount.type === 'volume' ? volumeUseFile(mount.source, user) : [])),
      markPath(id),
    ],
    cgroups,
    parents: cgroups.map(dirname),
  };
}

/** The lease itself, and its draft. */
function leaseFiles(id: string): string[] {
  const lease = join(stateRoot(), 'ids', `${id}.lease`);
  return [`${lease}.tmp`, lease];
}

/** In every tree: an update may take it into more of them. */
function cgroupPaths(id: string): readonly string[] {
  try {
    return planCgroup(`ns-${id}`).possiblePaths;
  } catch (error) {
    // Where there are no cgroups there is none to remove.
    if (error instanceof NsError) return [];
    throw error;
  }
}
