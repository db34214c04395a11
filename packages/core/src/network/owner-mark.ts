import { lstatSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { hasCode, isAlive, NsError, type ProcessIdentity, stateRoot, withDirectoryLockSync } from '@ns/libc';
import { type ContainerState, isAbandoned, readState, readStates } from '../container-state.ts';
import { identifySelf, isSame } from '../process-identity.ts';
import { stateDirectory } from '../state-root.ts';

/**
 * Who made the network of a container: a container has no state yet when it gets its addresses, and that of `run` never
 * has one.
 */
export function markOwner(id: string): void {
  const self = identifySelf();
  // One who adopted the run before may not have heard of its end yet.
  if (!mark(id, self)) inTurn(() => remark(id, self));
}

/**
 * A container that was made without a network is on one as long as its first process lives, which tells everybody when it has
 * left.
 *
 * @throws NsError `ERR_NS_CONTAINER_NOT_OURS`: somebody else connects it
 */
export function markAdopted(id: string, init: ProcessIdentity): void {
  if (mark(id, init)) return;
  inTurn(() => {
    if (!makerLives(id)) return remark(id, init);
    throw new NsError('ERR_NS_CONTAINER_NOT_OURS', `the networks of container ${id.slice(0, 12)} are another's`, {
      hint: 'Another thread of this process, or another copy of this package in it, has connected it: connect it there',
    });
  });
}

/** Idempotent. The mark of its next run stays. */
export function unmarkAdopted(id: string, init: ProcessIdentity): void {
  inTurn(() => {
    const marked = markedBy(id);
    if (marked && isSame(marked, init)) unmarkOwner(id);
  });
}

/** @returns false: there is one already */
function mark(id: string, { pid, startTime }: ProcessIdentity): boolean {
  stateDirectory('network-owners');
  try {
    symlinkSync(`${pid}:${startTime}`, markPath(id));
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}

function remark(id: string, by: ProcessIdentity): void {
  unmarkOwner(id);
  mark(id, by);
}

/** While nobody else takes or replaces a mark that is there. */
function inTurn(act: () => void): void {
  withDirectoryLockSync(stateDirectory('network-owners'), act);
}

/** Idempotent. */
export function unmarkOwner(id: string): void {
  rmSync(markPath(id), { force: true });
}

/** Is a container gone, or its run over, and who connected it does not care for that? */
export function isOwnerGone(id: string): boolean {
  return !makerLives(id) && hasLeft(readState(id));
}

/** Tells it of each container. */
export function goneOwners(): (id: string) => boolean {
  const states = new Map(readStates().map((state) => [state.id, state]));
  return (id) => !makerLives(id) && hasLeft(states.get(id));
}

function hasLeft(state: ContainerState | undefined): boolean {
  return state === undefined || state.status === 'stopped' || isAbandoned(state);
}

/** Has it places in networks, or is about to? */
export function hasMark(id: string): boolean {
  return lstatSync(markPath(id), { throwIfNoEntry: false }) !== undefined;
}

export function makerLives(id: string): boolean {
  const marked = markedBy(id);
  return marked !== undefined && isAlive(marked);
}

function markedBy(id: string): ProcessIdentity | undefined {
  try {
    const [pid, startTime] = readlinkSync(markPath(id)).split(':').map(Number);
    return { pid: pid!, startTime: startTime! };
  } catch {
    return undefined;
  }
}

/** Label of networks that are a container's own, with its id. */
export const ownerLabel = 'ns.container';

/** The link that says it. */
export function markPath(id: string): string {
  return join(stateRoot(), 'network-owners', id);
}
