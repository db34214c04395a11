import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { AsyncResourceStack, isAlive, type ProcessIdentity, stateRoot, UnavailableError } from '@ns/libc';
import { type VolumeStatus, VolumeStore } from '@ns/overlayfs';
import type { ContainerState } from './container-state.ts';
import { identifySelf } from './process-identity.ts';

/**
 * Where volumes are: `$NS_STATE_ROOT/volumes`, or else `/var/lib/ns/volumes` as root and `$XDG_DATA_HOME/ns/volumes`
 * otherwise. Unlike the rest of the state they outlive a reboot.
 *
 * @throws UnavailableError this user has no home directory
 */
export function volumeRoot(): string {
  const { NS_STATE_ROOT, XDG_DATA_HOME = '' } = process.env;
  if (NS_STATE_ROOT) return join(stateRoot(), 'volumes');
  if (process.geteuid!() === 0) return '/var/lib/ns/volumes';
  return join(isAbsolute(XDG_DATA_HOME) ? XDG_DATA_HOME : join(homeDirectory(), '.local/share'), 'ns/volumes');
}

function homeDirectory(): string {
  try {
    const home = homedir();
    if (isAbsolute(home)) return home;
  } catch {
    // Neither HOME nor an entry in /etc/passwd: a container that runs as some number.
  }
  throw new UnavailableError(
    'a directory for volumes',
    'this user has no home directory',
    'Set XDG_DATA_HOME, or NS_STATE_ROOT, to a directory that this user may write to',
  );
}

/** The volumes of this machine. */
export function volumeStore(): VolumeStore {
  return new VolumeStore(volumeRoot());
}

/* Who uses a volume is the name of a file in it: the container, and the process that made it with its start time, so that
   a use whose maker has died without a word is known to be none. It is there while something runs; that a container may be
   started again with the volume, its state says. */

/**
 * The name under which a container of this process uses volumes.
 *
 * @param use - for what is mounted later and may be gone earlier
 */
export function volumeUser(containerId: string, use = 0): string {
  const self = identifySelf();
  return `${containerId}.${self.pid}.${self.startTime}.${use}`;
}

/** The file that says so: a monitor removes it when this process dies. */
export function volumeUseFile(name: string, user: string): string {
  return join(volumeRoot(), name, 'users', user);
}

/**
 * Ids of containers that use a volume, or will when they are started again. What dead ones left is released.
 *
 * @param states - of all containers
 */
export async function usersOf(
  store: VolumeStore,
  { name, usedBy }: Pick<VolumeStatus, 'name' | 'usedBy'>,
  states: readonly ContainerState[],
): Promise<string[]> {
  // A container may outlive the process that made it, but only that one starts it again.
  const living = states.filter(({ owner, init }) => isAlive(owner) || (init !== undefined && isAlive(init)));
  const users = usedBy.map(parseUser);
  const dead = users.filter(
    ({ containerId, maker }) => !isAlive(maker) && !living.some(({ id }) => id === containerId),
  );
  await using left = new AsyncResourceStack();
  for (const { user } of dead) left.defer(() => store.release(name, user));
  const holders = living.filter(({ spec }) =>
    spec.mounts?.some((mount) => mount.type === 'volume' && mount.source === name),
  );
  const mounting = users.filter((user) => !dead.includes(user)).map(({ containerId }) => containerId);
  return [...new Set([...mounting, ...holders.map(({ id }) => id)])];
}

function parseUser(user: string): { user: string; containerId: string; maker: ProcessIdentity } {
  const [containerId = '', pid, startTime] = user.split('.');
  return { user, containerId, maker: { pid: Number(pid), startTime: Number(startTime) } };
}
