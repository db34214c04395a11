import { setTimeout as delay } from 'node:timers/promises';
import type { Cgroup, Stats } from '@ns/cgroups';
import { ownTurn, pidfdOpen, pidfdSendSignal, UnavailableError } from '@ns/libc';
import type { ContainerLife } from './container-life.ts';
import { isEnding } from './process-identity.ts';
import { descendantsOf, processesAround } from './process-list.ts';
import type { RunHandle } from './run-handle.ts';

/**
 * The cgroup of a container, for what cannot be done without.
 *
 * @throws UnavailableError for an ordinary user who has none delegated
 */
export function cgroupOf({ cgroup }: RunHandle, feature: string): Cgroup {
  if (cgroup) return cgroup;
  throw new UnavailableError(
    feature,
    'this user has no cgroup to put a container in',
    'Have one delegated: systemctl edit user@.service, Delegate=yes; or run as root',
  );
}

/** What a container uses, its network included unless that is somebody else's. */
export function statsOf(run: RunHandle): Promise<Stats> {
  const { namespaces } = run.design;
  const ownNetwork = [...namespaces.created, ...namespaces.joined.map(({ kind }) => kind)].includes('net');
  const { pid } = run.launched;
  return cgroupOf(run, 'accounting').stats(ownNetwork && pid !== undefined ? { networkOfPid: pid } : {});
}

/** The same every so many milliseconds, until the run there is ends or the signal comes. */
export async function* statsEvery(
  life: ContainerLife,
  intervalMs: number,
  signal?: AbortSignal,
): AsyncGenerator<Stats, void, undefined> {
  const { run, isAlive } = life;
  if (!run || !isAlive) return;
  const end = new AbortController();
  const hasEnded = () => end.abort();
  life.endOf(run).then(hasEnded, hasEnded);
  const over = signal ? AbortSignal.any([signal, end.signal]) : end.signal;
  while (!over.aborted) {
    // Of many that began together, each has a turn of its own.
    await ownTurn('reading stats');
    const stats = await statsOf(run).catch((error) => {
      // Its cgroup goes before we hear of its end.
      if (!isEnding(run.launched)) throw error;
    });
    if (!stats) return;
    yield stats;
    await delay(intervalMs, undefined, { signal: over }).catch(() => {});
  }
}

/** Host pids of a container's processes. */
export async function processIds({ cgroup, design, launched }: RunHandle): Promise<readonly number[]> {
  if (cgroup) return cgroup.processes();
  // In somebody else's pid namespace are somebody else's processes.
  return design.namespaces.created.includes('pid') ? processesAround(launched.pid!) : descendantsOf(launched.pid!);
}

/** Sends a signal to a process that may be gone by now. */
export function signalProcess(pid: number, signal: number): void {
  try {
    using pidfd = pidfdOpen(pid);
    pidfdSendSignal(pidfd.fd, signal);
  } catch {
    // It ended in between, which is what signals are sent for.
  }
}
