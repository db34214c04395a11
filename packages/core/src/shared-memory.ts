import { O, type OwnedFd, open } from '@ns/libc';
import { resolveInRoot } from '@ns/mounts';
import { Namespace } from '@ns/namespaces';
import { takeFromMountNamespace } from './in-mount-namespace.ts';
import { type ContainerReference, runningInit } from './namespaces-of-others.ts';
import type { SharedMemory } from './plan/shared-memory-step.ts';
import { sharesMounts } from './shared-mounts.ts';
import type { ContainerSpec } from './types.ts';

/* POSIX shared memory is files in /dev/shm, of which the kernel's ipc namespace knows nothing: who shares the one expects the
   other, as Docker gives it. */

const PLACE = '/dev/shm';

/** Name of the descriptor by which a container gets that of another. */
const handle = 'shared memory';

/** The container whose memory one shares. An ordinary user may enter none. */
export function sharesMemoryWith(spec: ContainerSpec): ContainerReference | undefined {
  if (sharesMounts(spec)) return undefined;
  const ipc = spec.namespaces?.ipc;
  return typeof ipc === 'object' && 'container' in ipc && process.geteuid!() === 0 ? ipc.container : undefined;
}

/**
 * @param prepared - what {@link takeSharedMemory} has taken; without it is a design to look at
 * @param fds - receives its number
 */
export function resolveSharedMemory(
  spec: ContainerSpec,
  prepared: ReadonlyMap<string, OwnedFd> | undefined,
  fds: Record<string, number>,
  host: { stat(path: string): unknown },
): SharedMemory | undefined {
  if (spec.namespaces?.ipc === 'host') return host.stat(PLACE) ? PLACE : undefined;
  if (sharesMemoryWith(spec) === undefined) return undefined;
  fds[handle] = prepared?.get(handle)?.fd ?? -1;
  return { fd: handle };
}

/**
 * The /dev/shm of a running container as a detached mount, by its name.
 *
 * @throws ContainerStateError `ERR_NS_CONTAINER_NOT_RUNNING`
 */
export async function takeSharedMemory(container: ContainerReference): Promise<readonly [name: string, OwnedFd]> {
  const { pid } = runningInit(container, 'share its /dev/shm');
  using mounts = Namespace.open('mnt', { path: `/proc/${pid}/ns/mnt` });
  using root = open(`/proc/${pid}/root`, O.PATH | O.DIRECTORY);
  // If it has ended, they are those of another process.
  runningInit(container, 'share its /dev/shm');
  // Not by a path in there, where the container decides what that leads to.
  using place = resolveInRoot(root.fd, PLACE);
  const target = {
    launched: { pidfd: undefined, namespaces: new Map([['mnt', mounts]] as const) },
    design: { namespaces: { idMaps: undefined } },
  };
  const memory = await takeFromMountNamespace(target, {
    inside: [
      { op: 'detachTree', source: { fd: 'place' }, recursive: false, handle },
      { op: 'handOver', handle },
    ],
    fds: { place: place.fd },
  });
  return [handle, memory];
}
