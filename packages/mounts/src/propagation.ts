import { AT_FDCWD, MS, type OwnedFd, openTree, SpecError } from '@ns/libc';
import { type Place, setPropagationBits } from './detached-mount.ts';
import { attempt } from './mount-error.ts';

/** Propagation types, with the flag of mount(2) and mount_setattr(2). */
const propagationTypes = {
  private: MS.PRIVATE,
  shared: MS.SHARED,
  slave: MS.SLAVE,
  unbindable: MS.UNBINDABLE,
} as const;

/** `shared`, or `rshared` for a mount and all below it. */
export type Propagation = keyof typeof propagationTypes | `r${keyof typeof propagationTypes}`;

/**
 * The MS_* bits of a propagation name, MS_REC included.
 *
 * @throws SpecError for a name that is none
 */
export function propagationBits(propagation: Propagation): number {
  const recursive = !Object.hasOwn(propagationTypes, propagation);
  const name = recursive ? propagation.slice(1) : propagation;
  if (!Object.hasOwn(propagationTypes, name)) {
    throw new SpecError(
      'propagation',
      'private, shared, slave, unbindable, or one of them with r before it',
      propagation,
    );
  }
  return propagationTypes[name as keyof typeof propagationTypes] | (recursive ? MS.REC : 0);
}

/**
 * mount_setattr(2), since 5.12: how mount events travel to and from the mount at `place` (which must be its root); see
 * mount_namespaces(7). Needs CAP_SYS_ADMIN over the mount namespace.
 *
 * @param propagation - with an `r` in front also for all mounts below
 * @throws SpecError for a name that is none
 * @throws SyscallError EINVAL (no mount), EPERM
 *
 * @example
 * ```ts
 * setPropagation('/mnt', 'rslave');
 * ```
 */
export function setPropagation(place: Place, propagation: Propagation): void {
  const bits = propagationBits(propagation);
  const path = typeof place === 'string' ? place : place.procPath;
  attempt({ doing: `make the mount at ${path} ${propagation}`, path }, () => {
    if (typeof place !== 'string') return setPropagationBits(place, bits);
    using mount: OwnedFd = openTree(AT_FDCWD, place, 0);
    setPropagationBits(mount, bits);
  });
}

/** See mount_namespaces(7). `makePrivate('/')` first, or what is mounted next appears on the host. */
export const makePrivate = (place: Place, options: { recursive?: boolean } = {}): void =>
  setPropagation(place, options.recursive ? 'rprivate' : 'private');
/** Receives mounts and unmounts of the host, sends none. */
export const makeSlave = (place: Place, options: { recursive?: boolean } = {}): void =>
  setPropagation(place, options.recursive ? 'rslave' : 'slave');
/** Sends and receives. */
export const makeShared = (place: Place, options: { recursive?: boolean } = {}): void =>
  setPropagation(place, options.recursive ? 'rshared' : 'shared');
/** Private, and cannot be bound elsewhere. */
export const makeUnbindable = (place: Place, options: { recursive?: boolean } = {}): void =>
  setPropagation(place, options.recursive ? 'runbindable' : 'unbindable');
