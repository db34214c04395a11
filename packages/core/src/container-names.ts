import { readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { NsError } from '@ns/libc';
import { isAbandoned, readStates } from './container-state.ts';
import { identifyProcess, isAlive } from './process-identity.ts';
import { stateDirectory, stateRoot } from './state-root.ts';

/** The link that says whose a name is. Making it is atomic, so two containers never get the same. */
export function nameLink(name: string): string {
  return join(stateRoot(), 'names', name);
}

/**
 * Takes a name for a container.
 *
 * @throws NsError `ERR_NS_CONTAINER_EXISTS`: the name is taken
 */
export function claimName(name: string, id: string): void {
  stateDirectory('names');
  const self = identifyProcess(process.pid)!;
  const claim = () => symlinkSync(`${id}:${self.pid}:${self.startTime}`, nameLink(name));
  try {
    claim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    if (isTaken(name)) {
      throw new NsError('ERR_NS_CONTAINER_EXISTS', `a container named ${name} exists`, {
        hint: 'Remove it first, or take another name',
      });
    }
    releaseName(name);
    claim();
  }
}

/** Frees a name. Idempotent. */
export function releaseName(name: string): void {
  rmSync(nameLink(name), { force: true });
}

/** A name belongs to its container for as long as that, or the process that is making it, exists. */
function isTaken(name: string): boolean {
  let holder: string;
  try {
    holder = readlinkSync(nameLink(name));
  } catch {
    return false;
  }
  const [id, pid, startTime] = holder.split(':');
  if (isAlive({ pid: Number(pid), startTime: Number(startTime) })) return true;
  return readStates().some((state) => state.id === id && !isAbandoned(state));
}
