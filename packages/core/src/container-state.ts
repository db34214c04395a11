import { readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { threadId } from 'node:worker_threads';
import { entrust, hasBegun } from '@ns/launch';
import {
  fileCall,
  hasCode,
  holdBriefly,
  inOwnTurns,
  isAlive,
  NsError,
  O,
  open,
  type ProcessIdentity,
  stateRoot,
  tryLock,
  withDirectoryLockSync,
  withSpareDescriptors,
} from '@ns/libc';
import type { IdLease } from '@ns/namespaces';
import { readJournal } from './detachment.ts';
import { hasOutput } from './log-location.ts';
import { endUserNetwork } from './network/end-user-network.ts';
import type { ContainerPort } from './network/live-networks.ts';
import type { Result } from './result.ts';
import { containerDirectory, stateDirectory } from './state-root.ts';
import { type StoredSpec, toStoredText } from './stored-spec.ts';
import { hasState, readMaker, readStoredState, VERSION } from './stored-state.ts';

/** What a container is, on disk: found by other processes, and by the next one after a crash. */
export interface ContainerState {
  readonly version: typeof VERSION;
  readonly id: string;
  readonly name: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly command: readonly string[];
  readonly createdAt: string;
  /** The thread of Node that made it. */
  readonly owner: ProcessIdentity;
  readonly monitor: ProcessIdentity | undefined;
  /** First process of the container. */
  readonly init: ProcessIdentity | undefined;
  /** The program that connects it with the host's network, where one does. */
  readonly userNetwork?: ProcessIdentity | undefined;
  /** Ports that it forwards. */
  readonly userPorts?: readonly ContainerPort[] | undefined;
  readonly status: ContainerStatus;
  /** Somebody has stopped it: its restart policy rests until the next start. */
  readonly stopRequested: boolean;
  /** It outlives its maker: output and end are in files beside this one. */
  readonly detachable: boolean;
  /** Host ids that are its alone. */
  readonly ids: Pick<IdLease, 'uids' | 'gids'> | undefined;
  /** How its last run ended, by its maker or else the first who knew; undefined before that, and when nobody knows. */
  readonly ending: Omit<Result, 'stdout' | 'stderr' | 'truncated'> | undefined;
  /** The first process of that run. The next one leaves both alone: who waited for the end of this one looks for them. */
  readonly ended?: ProcessIdentity | undefined;
  readonly cgroup: string | undefined;
  readonly spec: StoredSpec;
}

/** Where a container stands in its life. */
export type ContainerStatus = 'created' | 'running' | 'paused' | 'stopped' | 'removed';

const WHOLE_ID = /^[0-9a-f]{64}$/;
/** Where it is, in the directory of the container. */
export const STATE_FILE = 'state.json';
// Begins the name of what will be the state.
const DRAFT = `${STATE_FILE}.`;
// Begins the name of a directory whose removal is under way.
const REMOVED = '.removed-';

/** What may be changed of a container's state once it is there. */
export type StateChanges = Partial<Omit<ContainerState, 'version' | 'id' | 'createdAt'>>;

/** Makes the directory of a container. Until there is a state, its draft says who makes it. */
export function makeDirectory(id: string, owner: ProcessIdentity): void {
  stateDirectory('containers', id);
  const draft = draftPath(id);
  fileCall(draft, () => writeFileSync(draft, JSON.stringify({ owner }), { mode: 0o600 }));
}

/** Where this thread writes what will be the state. */
export function draftPath(id: string): string {
  return join(containerDirectory(id), `${DRAFT}${process.pid}-${threadId}`);
}

/** Writes the state of a container that has none yet. */
export function writeState(state: Omit<ContainerState, 'version'>): void {
  replaceFile({ version: VERSION, ...state });
}

/**
 * Changes what is said to change and keeps the rest as others have left it, whatever they do meanwhile.
 *
 * @returns the state it has now; undefined when the container was removed
 */
export function changeState(
  id: string,
  changes: StateChanges | ((state: ContainerState) => StateChanges),
): ContainerState | undefined {
  const directory = containerDirectory(id);
  try {
    return withDirectoryLockSync(directory, () => {
      const before = readStoredState(join(directory, STATE_FILE), id);
      if (!before) return undefined;
      const wanted = Object.entries(typeof changes === 'function' ? changes(before) : changes);
      if (wanted.every(([name, value]) => before[name as keyof StateChanges] === value)) return before;
      const state = { ...before, ...Object.fromEntries(wanted) };
      replaceFile(state);
      return state;
    });
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Looks at the state of a container while nobody changes it; undefined when somebody does. */
export function ifUnchanging<T>(id: string, look: (state: ContainerState | undefined) => T): T | undefined {
  const directory = containerDirectory(id);
  try {
    using fd = open(directory, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
    return tryLock(fd.fd) ? look(readStoredState(join(directory, STATE_FILE), id)) : undefined;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** A reader sees the old state or the new one, never half of it. */
function replaceFile(state: ContainerState): void {
  const draft = draftPath(state.id);
  const text = toStoredText(state);
  fileCall(draft, () => {
    writeFileSync(draft, text, { mode: 0o600 });
    renameSync(draft, join(containerDirectory(state.id), STATE_FILE));
  });
}

/**
 * Removes everything kept of a container. Idempotent.
 *
 * @returns the name it had, by which others may have called it until that moment
 */
export function removeState(id: string): string | undefined {
  const directory = containerDirectory(id);
  const removed = removedDirectory(id);
  return withSpareDescriptors(() => {
    // Of one that may outlive its maker nobody else would finish it, if this process were killed now.
    using _ = entrust({ directories: [removed], parents: [dirname(removed)] });
    try {
      // At once, so that nobody who writes meanwhile brings a part of it back.
      fileCall(directory, () => renameSync(directory, removed));
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
    const name = readStoredState(join(removed, STATE_FILE), id)?.name;
    rmSync(removed, { recursive: true, force: true });
    return name;
  });
}

/** Where it is while this thread removes it. */
export function removedDirectory(id: string): string {
  return containerDirectory(`${REMOVED}${id}-${process.pid}-${threadId}`);
}

/**
 * The same, unless it has processes: its maker may have started it again, and does not do so meanwhile.
 *
 * @returns its state, when it has; else the name it had
 */
export function removeStateOfEnded(id: string): { readonly state?: ContainerState; readonly name?: string } {
  try {
    return withDirectoryLockSync(containerDirectory(id), () => {
      const state = readState(id);
      if (state && [state.monitor, state.init].some((process) => process && isAlive(process))) return { state };
      const name = removeState(id);
      return name === undefined ? {} : { name };
    });
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return {};
    throw error;
  }
}

/**
 * Every container on this machine and state root. What is not readable is none: a crash in its first moment left it. What
 * has died with its owner is none either: of one that had ended before, no monitor was there to take its state away.
 */
export function readStates(ids = storedIds()): ContainerState[] {
  return ids.flatMap(readLivingState);
}

/** The same for who need not have all at one moment: of hundreds, each takes a tenth of a millisecond. */
export async function readStatesInTurns(): Promise<ContainerState[]> {
  return (await inOwnTurns('reading states', storedIds(), readLivingState)).flat();
}

function readLivingState(id: string): [] | [ContainerState] {
  const state = readState(id);
  if (!state) return [];
  if (!isAbandoned(state)) return [state];
  // Nobody would know of it any more.
  endUserNetwork(state);
  removeState(id);
  return [];
}

/** The same with those that nobody owns any more. */
export function readAllStates(): ContainerState[] {
  return statesOf(storedIds());
}

/** Of all there are directories of. */
export function storedIds(): string[] {
  return namesIn(join(stateRoot(), 'containers')).filter((id) => !id.startsWith(REMOVED));
}

function statesOf(ids: readonly string[]): ContainerState[] {
  return ids.flatMap((id) => readState(id) ?? []);
}

/**
 * The state of a container whose process is gone without a word is `stopped`. One that waits to be started ends with its
 * maker: if it has not, it was started, and its maker was killed before he could write that down.
 */
export function readState(id: string): ContainerState | undefined {
  const state = readStoredState(join(containerDirectory(id), STATE_FILE), id);
  if (!state || state.status === 'stopped') return state;
  if (!(state.init && isAlive(state.init))) return { ...state, status: 'stopped' };
  return state.status === 'created' && !isAlive(state.owner) ? { ...state, status: 'running' } : state;
}

/** Its maker and all its processes are gone, and nobody will come back for it. */
export function isAbandoned({ id, detachable, owner, monitor, init }: ContainerState): boolean {
  const isGone = [owner, monitor, init].every((process) => !process || !isAlive(process));
  return isGone && (!detachable || neverBegan(id));
}

/** Was its maker killed before it was started? Nobody else can do that. What an earlier run has written stays. */
function neverBegan(id: string): boolean {
  const directory = containerDirectory(id);
  const state = readStoredState(join(directory, STATE_FILE), id);
  return state?.status === 'created' && !hasBegun(readJournal(directory)) && !hasOutput(id, state.spec);
}

/** Directories of containers in which there is no state, of this version or a newer one, or that were being removed. */
export function directoriesWithoutState(): string[] {
  const containers = join(stateRoot(), 'containers');
  return namesIn(containers)
    .filter((id) => id.startsWith(REMOVED) || !hasState(join(containers, id, STATE_FILE), id))
    .map((id) => join(containers, id));
}

/** Who makes the state of a container that has none. */
export function makerIn(directory: string): ProcessIdentity | undefined {
  const [draft] = namesIn(directory).filter((name) => name.startsWith(DRAFT));
  return draft === undefined ? undefined : readMaker(join(directory, draft));
}

function namesIn(directory: string): string[] {
  try {
    return fileCall(directory, () => holdBriefly(() => readdirSync(directory)));
  } catch (error) {
    if (hasCode(error, 'EMFILE', 'ENFILE', 'ENOMEM')) throw error;
    return [];
  }
}

/**
 * Finds a container by id, unique beginning of an id, or name.
 *
 * @throws NsError `ERR_NS_CONTAINER_NOT_FOUND`
 */
export function findState(idOrName: string): ContainerState {
  // With many containers it takes long to look at all of them.
  const [known] = WHOLE_ID.test(idOrName) ? readStates([idOrName]) : [];
  if (known) return known;
  const states = readStates();
  const matches = states.filter(({ id, name }) => id === idOrName || name === idOrName);
  const found =
    matches.length > 0 ? matches : states.filter(({ id }) => idOrName.length >= 4 && id.startsWith(idOrName));
  if (found.length === 1) return found[0]!;
  throw new NsError(
    'ERR_NS_CONTAINER_NOT_FOUND',
    `${found.length === 0 ? 'no' : 'more than one'} container ${idOrName}`,
    {
      hint: 'Container.list() shows those there are',
    },
  );
}
