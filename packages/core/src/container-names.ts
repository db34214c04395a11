import { readdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { entrust } from '@ns/launch';
import { fileCall, isAlive, NsError, type ProcessIdentity, stateRoot, withDirectoryLockSync } from '@ns/libc';
import { ifUnchanging, isAbandoned, readStates } from './container-state.ts';
import { stateDirectory } from './state-root.ts';

/**
 * The link that says whose a name is, and what is in it: the container and its maker, whoever gave it the name. Making it is
 * atomic, so two containers never get the same.
 */
export function nameLink(name: string, id: string, maker: ProcessIdentity): { path: string; target: string } {
  return { path: linkPath(name), target: `${id}:${maker.pid}:${maker.startTime}` };
}

function linkPath(name: string): string {
  return join(stateRoot(), 'names', name);
}

/**
 * Nobody else has a name, this moment.
 *
 * @throws NsError `ERR_NS_CONTAINER_EXISTS`: the name is taken
 */
export function assertFree(name: string, id: string): void {
  if (isOwn(name, id) || !isTaken(name)) return;
  throw new NsError('ERR_NS_CONTAINER_EXISTS', `a container named ${name} exists`, {
    hint: 'Remove it first, or take another name',
  });
}

/**
 * Takes a name for a container. When this thread dies it is free again, until the result is disposed of: then others know by
 * its state whose it is, or it was released.
 *
 * @throws NsError `ERR_NS_CONTAINER_EXISTS`: the name is taken
 */
export function claimName(name: string, id: string, maker: ProcessIdentity): Disposable {
  // Two who find the same dead claim would each take away the other's new one.
  return withDirectoryLockSync(stateDirectory('names'), () => {
    assertFree(name, id);
    const link = nameLink(name, id, maker);
    const entrusted = entrust({ links: [link] });
    try {
      fileCall(link.path, () => {
        rmSync(link.path, { force: true });
        symlinkSync(link.target, link.path);
      });
    } catch (error) {
      entrusted[Symbol.dispose]();
      throw error;
    }
    return entrusted;
  });
}

/** Frees a name, unless it is another container's by now. Idempotent. */
export function releaseName(name: string, id: string): void {
  withDirectoryLockSync(stateDirectory('names'), () => {
    if (isOwn(name, id)) rmSync(linkPath(name), { force: true });
  });
}

/** Frees names whose containers are gone; which. */
export function pruneNames(): string[] {
  const directory = stateDirectory('names');
  return withDirectoryLockSync(directory, () => {
    const free = readdirSync(directory).filter((name) => !isTaken(name));
    for (const name of free) rmSync(linkPath(name), { force: true, recursive: true });
    return free;
  });
}

/** A name belongs to its container for as long as that, or who is making it, exists. */
function isTaken(name: string): boolean {
  const holder = holderOf(name);
  if (holder === undefined) return false;
  const [id, pid, startTime] = holder.split(':');
  if (isFormer(name, id!)) return false;
  if (isAlive({ pid: Number(pid), startTime: Number(startTime) })) return true;
  return readStates().some((state) => state.id === id && !isAbandoned(state));
}

/** Who renamed its container was killed before he freed it, or before he wrote that down. */
function isFormer(name: string, id: string): boolean {
  return ifUnchanging(id, (state) => state !== undefined && state.name !== name) ?? false;
}

function isOwn(name: string, id: string): boolean {
  return holderOf(name)?.startsWith(`${id}:`) ?? false;
}

function holderOf(name: string): string | undefined {
  try {
    return readlinkSync(linkPath(name));
  } catch {
    return undefined;
  }
}
