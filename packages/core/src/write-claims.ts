import { realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { entrust } from '@ns/launch';
import { isAlive, NsError, type ProcessIdentity, ResourceStack, withDirectoryLockSync } from '@ns/libc';
import * as v from 'valibot';
import { makeDirectory, readState, removedDirectory, removeState, storedIds } from './container-state.ts';
import { chosenWritable, dataOfKept } from './kept-writes.ts';
import { locateLog, logPath } from './log-location.ts';
import { identifySelf } from './process-identity.ts';
import { containerDirectory, stateDirectory } from './state-root.ts';
import { identity, readJson } from './stored-state.ts';
import type { ContainerSpec } from './types.ts';

/*
 * What an overlay writes to must be no other's: the kernel says that the behaviour of two with one upper or work directory is
 * undefined, and does not refuse the second (Documentation/filesystems/overlayfs.rst). Two logs in the same files overwrite
 * each other. So who writes where is in the directory of each container, in a file that goes with it.
 */

/** A place of the host that can be written to by one container only. */
interface WrittenPlace {
  readonly field: string;
  readonly path: string;
}

/** Whose container may write where: paths are without links, as far as they were there. */
const schema = v.looseObject({ owner: identity, paths: v.array(v.string()) });
interface WriteClaim {
  readonly owner: ProcessIdentity;
  readonly paths: readonly string[];
}

/** Does a specification name places that must be its container's alone? */
export function claimsWrites(spec: ContainerSpec): boolean {
  return placesOf(spec).length > 0;
}

/**
 * Takes the places that a specification names for a run, until they are released, or all who may write there are gone.
 *
 * @throws NsError `ERR_NS_IN_USE`: another container has one, or what is above or below it
 */
export function claimWrites(id: string, spec: ContainerSpec, owner: ProcessIdentity): void {
  const places = placesOf(spec);
  if (places.length === 0) return;
  withDirectoryLockSync(stateDirectory('containers'), () => {
    const wanted = places.map((place) => ({ ...place, path: realPathOf(place.path) }));
    for (const other of storedIds()) {
      const claim = other === id ? undefined : readClaim(other);
      if (!claim) continue;
      const place = wanted.find(({ path }) => claim.paths.some((taken) => overlap(path, taken)));
      if (place && isHeld(other, claim)) throw inUse(place, other);
    }
    const claim: WriteClaim = { owner, paths: wanted.map(({ path }) => path) };
    writeFileSync(claimPath(id), JSON.stringify(claim), { mode: 0o600 });
  });
}

/** Nothing of it runs: others may write there. Idempotent. */
export function releaseWrites(id: string): void {
  rmSync(claimPath(id), { force: true });
}

/** The same for one command, which has no directory otherwise: disposing of it removes that, and so does our death. */
export function claimWritesOnce(id: string, spec: ContainerSpec): Disposable | undefined {
  if (!claimsWrites(spec)) return undefined;
  const claimed = new ResourceStack();
  claimed.use(entrust({ directories: [containerDirectory(id), removedDirectory(id)] }));
  claimed.defer(() => void removeState(id));
  try {
    makeDirectory(id, identifySelf());
    claimWrites(id, spec, identifySelf());
    return claimed;
  } catch (error) {
    claimed[Symbol.dispose]();
    throw error;
  }
}

function placesOf(spec: ContainerSpec): WrittenPlace[] {
  const writable = chosenWritable(spec);
  const location = spec.log?.directory === undefined ? undefined : locateLog('', spec);
  return [
    ...(typeof writable === 'object' && 'upper' in writable
      ? (['upper', 'work'] as const).map((name) => ({ field: `writable.${name}`, path: writable[name] }))
      : []),
    ...(typeof writable === 'object' && 'dir' in writable
      ? [{ field: 'writable.dir', path: dataOfKept(writable) }]
      : []),
    ...(location ? [{ field: 'log.directory', path: logPath(location, 'stdout') }] : []),
  ];
}

/** Is one the other, or below it? */
function overlap(one: string, other: string): boolean {
  const [here, there] = [lineageOf(one), lineageOf(other)];
  return here.includes(there[0]!) || there.includes(here[0]!);
}

/** A place and the directories above it, each by what it is: links and mounts give one several names. */
function lineageOf(path: string): string[] {
  const { dev, ino } = statSync(path, { throwIfNoEntry: false }) ?? {};
  const above = path === '/' ? [] : lineageOf(dirname(path));
  return [dev === undefined ? `${above[0]}/${basename(path)}` : `${dev}:${ino}`, ...above];
}

/** What is not there yet is below what is. */
function realPathOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    // What is wrong with it, whoever uses it says.
    return join(realPathOf(dirname(path)), basename(path));
  }
}

/** Who was killed has released nothing; a container may outlive him. */
function isHeld(id: string, { owner }: WriteClaim): boolean {
  const { monitor, init } = readState(id) ?? {};
  return [owner, monitor, init].some((process) => process && isAlive(process));
}

/** Most have none, some are gone since, and what somebody else has left there is none. */
function readClaim(id: string): WriteClaim | undefined {
  const { success, output } = v.safeParse(schema, readJson(claimPath(id)));
  return success ? output : undefined;
}

function claimPath(id: string): string {
  return join(containerDirectory(id), 'writes.json');
}

function inUse({ field, path }: WrittenPlace, id: string): NsError {
  const { name } = readState(id) ?? {};
  const holder = name === undefined ? id.slice(0, 12) : `${name} (${id.slice(0, 12)})`;
  return new NsError('ERR_NS_IN_USE', `${field}: the container ${holder} writes to ${path}`, {
    hint: 'Stop that container first, or give this one a directory of its own',
  });
}
