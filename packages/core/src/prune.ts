import { readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { pruneCgroups } from '@ns/cgroups';
import { isAlive, NsError, stateRoot } from '@ns/libc';
import { reclaimIds } from '@ns/namespaces';
import { pruneNames } from './container-names.ts';
import { directoriesWithoutState, isAbandoned, makerIn, readAllStates, removeState } from './container-state.ts';
import { endUserNetwork } from './network/end-user-network.ts';
import { pruneNetworks } from './network/prune-networks.ts';
import { type Patience, patiently } from './patience.ts';
import { checkCall } from './validate-calls.ts';

/** What {@link prune} removed, by kind. */
export interface Pruned {
  /** Ids of containers whose state was left behind. */
  readonly containers: readonly string[];
  /** Names that were taken for them. */
  readonly names: readonly string[];
  /** Names of cgroups; what still ran in them was killed. */
  readonly cgroups: readonly string[];
  /** Names of leases of ids. */
  readonly idLeases: readonly string[];
  /** Networks that were a container's own. */
  readonly networks: readonly string[];
  /** Ids of containers that had left links, addresses or ports in a network. */
  readonly endpoints: readonly string[];
  /** What could not be removed. */
  readonly failed: readonly {
    readonly kind: 'cgroup' | 'idLease' | 'network';
    readonly name: string;
    readonly error: unknown;
  }[];
}

// Between a directory and the draft in it there are microseconds, while its maker lives.
const newDirectoryMs = 60_000;

/**
 * Removes what a crash left behind: state, cgroups with what still runs in them, ranges of ids. Everything has an owner,
 * known by pid and start time; what belongs to a living one is left alone, and so is a detached container that has
 * ended: its result waits for somebody to ask. Anybody may call it at any time, several at once.
 *
 * Of a process that dies by SIGKILL the monitors and its caretaker clear up, whatever it was doing. Only this stays until somebody
 * calls this: a network that was half made, a name that another process has given, and the places in networks of containers that
 * outlived it and ended, unless somebody who has found one looks at its end. So this is for machines that lost power, and helpers
 * that were killed too. Once begun it is carried through, also for somebody who lost patience.
 *
 * @throws NsError `ERR_NS_TIMEOUT`, or the reason of `signal`: patience was lost
 *
 * @example
 * ```ts
 * const { containers, cgroups } = await prune();
 * ```
 */
export async function prune(patience: Patience = {}): Promise<Pruned> {
  return patiently('pruning', checkCall('patience', patience), pruneAll);
}

async function pruneAll(): Promise<Pruned> {
  for (const state of readAllStates()) endUserNetwork(state);
  const containers = pruneContainers();
  const names = pruneNames();
  const cgroups = await ifThere(pruneCgroups(), { removed: [], failed: [] });
  const ids = await pruneIds();
  const networks = await pruneNetworks();
  return {
    containers,
    names,
    cgroups: cgroups.removed,
    idLeases: ids.removed,
    networks: networks.networks,
    endpoints: networks.endpoints,
    failed: [
      ...cgroups.failed.map((failure) => ({ kind: 'cgroup' as const, ...failure })),
      ...ids.failed,
      ...networks.failed.map((failure) => ({ kind: 'network' as const, ...failure })),
    ],
  };
}

function pruneContainers(): string[] {
  const abandoned = [
    ...readAllStates().filter(isAbandoned),
    ...directoriesWithoutState()
      .filter(isLeft)
      .map((path) => ({ id: basename(path) })),
  ].map(({ id }) => id);
  for (const id of abandoned) removeState(id);
  return abandoned;
}

async function pruneIds(): Promise<{ removed: string[]; failed: Pruned['failed'] }> {
  const directory = join(stateRoot(), 'ids');
  const before = leasesIn(directory);
  if (before.length === 0) return { removed: [], failed: [] };
  try {
    const held = new Set(await reclaimIds(directory));
    return { removed: before.filter((name) => !held.has(name)), failed: [] };
  } catch (error) {
    return { removed: [], failed: [{ kind: 'idLease', name: before.join(', '), error }] };
  }
}

function leasesIn(directory: string): string[] {
  const suffix = '.lease';
  try {
    return readdirSync(directory).flatMap((file) => (file.endsWith(suffix) ? [file.slice(0, -suffix.length)] : []));
  } catch {
    return [];
  }
}

/** Does nobody make a container in it any more? */
function isLeft(path: string): boolean {
  const maker = makerIn(path);
  return maker ? !isAlive(maker) : isOld(path);
}

function isOld(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.mtimeMs > newDirectoryMs;
}

/** Where there are no cgroups, or none of ours, there is nothing to remove. */
async function ifThere<T>(pruned: Promise<T>, nothing: T): Promise<T> {
  try {
    return await pruned;
  } catch (error) {
    if (error instanceof NsError) return nothing;
    throw error;
  }
}
