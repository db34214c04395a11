import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NsError } from '@ns/libc';
import { isAlive, type ProcessIdentity } from './process-identity.ts';
import { stateDirectory, stateRoot } from './state-root.ts';
import type { StoredSpec } from './stored-spec.ts';

/** What a container is, on disk: found by other processes, and by the next one after a crash. */
export interface ContainerState {
  readonly version: 1;
  readonly id: string;
  readonly name: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly command: readonly string[];
  readonly createdAt: string;
  /** The process that made it. */
  readonly owner: ProcessIdentity;
  readonly monitor: ProcessIdentity | undefined;
  /** First process of the container. */
  readonly init: ProcessIdentity | undefined;
  readonly status: ContainerStatus;
  readonly cgroup: string | undefined;
  readonly spec: StoredSpec;
}

/** Where a container stands in its life. */
export type ContainerStatus = 'created' | 'running' | 'paused' | 'stopped' | 'removed';

const FILE = 'state.json';

/** Writes the state so that a reader sees the old one or the new one, never half of it. */
export function writeState(state: ContainerState): void {
  const directory = stateDirectory('containers', state.id);
  const temporary = join(directory, `${FILE}.${process.pid}`);
  writeFileSync(temporary, JSON.stringify(state), { mode: 0o600 });
  renameSync(temporary, join(directory, FILE));
}

/** Removes everything kept of a container. Idempotent. */
export function removeState(id: string): void {
  rmSync(join(stateRoot(), 'containers', id), { recursive: true, force: true });
}

/** Every container on this machine and state root. What is not readable is none: a crash in its first moment left it. */
export function readStates(): ContainerState[] {
  return namesIn(join(stateRoot(), 'containers')).flatMap((id) => {
    const state = readState(id);
    return state ? [state] : [];
  });
}

/** The state of a container whose process is gone without a word is `stopped`. */
function readState(id: string): ContainerState | undefined {
  try {
    const state = JSON.parse(readFileSync(join(stateRoot(), 'containers', id, FILE), 'utf8')) as ContainerState;
    if (state.version !== 1) return undefined;
    const gone = state.status !== 'stopped' && !(state.init && isAlive(state.init));
    return gone ? { ...state, status: 'stopped' } : state;
  } catch {
    return undefined;
  }
}

/** Its maker and all its processes are gone: nobody will come back for it. */
export function isAbandoned({ owner, monitor, init }: ContainerState): boolean {
  return [owner, monitor, init].every((process) => !process || !isAlive(process));
}

/** Directories of containers in which there is no state, of this version or another. */
export function directoriesWithoutState(): string[] {
  const containers = join(stateRoot(), 'containers');
  return namesIn(containers).flatMap((id) => {
    try {
      JSON.parse(readFileSync(join(containers, id, FILE), 'utf8'));
      return [];
    } catch {
      return [join(containers, id)];
    }
  });
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/**
 * Finds a container by id, unique beginning of an id, or name.
 *
 * @throws NsError `ERR_NS_CONTAINER_NOT_FOUND`
 */
export function findState(idOrName: string): ContainerState {
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
