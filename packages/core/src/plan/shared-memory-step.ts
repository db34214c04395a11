import type { MountStep } from '@ns/launch';

/** Somebody's /dev/shm: the host's by its path, or a detached mount by the name of its descriptor. */
export type SharedMemory = string | { readonly fd: string };

/** POSIX shared memory: one's own, or that of whose ipc namespace one is in. */
export function sharedMemoryStep({
  sharedMemory,
  shmBytes,
}: {
  readonly sharedMemory: SharedMemory | undefined;
  readonly shmBytes: number;
}): MountStep {
  const place = { target: '/dev/shm', attributes: ['nosuid', 'nodev', 'noexec'] } as const;
  if (sharedMemory !== undefined)
    return { op: 'bind', source: sharedMemory, ...place, type: 'directory', recursive: false };
  const options = { mode: '1777', size: String(shmBytes) };
  return { op: 'mount', type: 'tmpfs', options, ...place, plain: true, made: true };
}
