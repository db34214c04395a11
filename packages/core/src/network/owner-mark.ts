import { lstatSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { isAlive, stateRoot } from '@ns/libc';
import { isAbandoned, readState, readStates } from '../container-state.ts';
import { identifySelf } from '../process-identity.ts';
import { stateDirectory } from '../state-root.ts';

/**
 * Who made the network of a container: a container has no state yet when it gets its addresses, and that of `run` never
 * has one.
 */
export function markOwner(id: string): void {
  const { pid, startTime } = identifySelf();
  stateDirectory('network-owners');
  symlinkSync(`${pid}:${startTime}`, markPath(id));
}

/** Idempotent. */
export function unmarkOwner(id: string): void {
  rmSync(markPath(id), { force: true });
}

/** Is a container gone, and whoever made it? */
export function isOwnerGone(id: string): boolean {
  if (makerLives(id)) return false;
  const state = readState(id);
  return state === undefined || isAbandoned(state);
}

/** Tells for each container whether it and whoever made it are gone. */
export function goneOwners(): (id: string) => boolean {
  const states = new Map(readStates().map((state) => [state.id, state]));
  return (id) => {
    const state = states.get(id);
    return !makerLives(id) && (state === undefined || isAbandoned(state));
  };
}

/** Has it places in networks, or is about to? */
export function hasMark(id: string): boolean {
  return lstatSync(markPath(id), { throwIfNoEntry: false }) !== undefined;
}

export function makerLives(id: string): boolean {
  try {
    const [pid, startTime] = readlinkSync(markPath(id)).split(':').map(Number);
    return isAlive({ pid: pid!, startTime: startTime! });
  } catch {
    return false;
  }
}

/** Label of networks that are a container's own, with its id. */
export const ownerLabel = 'ns.container';

/** The link that says it. */
export function markPath(id: string): string {
  return join(stateRoot(), 'network-owners', id);
}
