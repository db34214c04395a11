import { SpecError } from '@ns/libc';
import { isOfOthers, memberOf } from './namespaces-of-others.ts';
import type { ContainerSpec } from './types.ts';

/* A container in mounts that are there already, those of this machine or of another container, is in their file system as it
   is: nothing is put together for it, nothing mounted, nothing hidden. */

type Choices = Pick<ContainerSpec, 'namespaces'>;

/** Is it in mounts of others? */
export function sharesMounts({ namespaces }: Choices): boolean {
  return (namespaces?.mount ?? 'private') !== 'private';
}

/** The root of those mounts, for somebody outside. */
export function rootOfOthers({ namespaces }: Choices): string {
  const choice = namespaces?.mount;
  return isOfOthers(choice) ? `/proc/${memberOf(choice, 'mnt')}/root` : '/';
}

/** What says how a root of its own is put together. */
const ofItsOwnRoot = [
  'rootfs',
  'writable',
  'mounts',
  'shmSize',
  'maskedPaths',
  'readonlyPaths',
  'dns',
  'extraHosts',
] as const satisfies readonly (keyof ContainerSpec)[];

/** @returns the first field that has no say where the mounts are those of others */
export function saysMoreThanShared(spec: ContainerSpec): SpecError | undefined {
  if (!sharesMounts(spec)) return undefined;
  const isThere = (value: unknown) => value !== undefined && !(Array.isArray(value) && value.length === 0);
  const field = ofItsOwnRoot.find((name) => isThere(spec[name]));
  if (field !== undefined) return refusal(field, spec[field]);
  if (spec.cgroupAccess === 'delegated') return refusal('cgroupAccess', spec.cgroupAccess);
  return spec.selinux?.mount === undefined ? undefined : refusal('selinux.mount', spec.selinux.mount);
}

function refusal(field: string, value: unknown): SpecError {
  return new SpecError(
    field,
    'nothing, as namespaces.mount is not its own',
    value,
    'It is in the file system of others as that is. Leave one of the two out',
  );
}

/** @throws SpecError what is mounted for it would be mounted for others, too */
export function assertOwnMounts(spec: ContainerSpec, field: string): void {
  if (!sharesMounts(spec)) return;
  throw new SpecError(
    field,
    'none, as namespaces.mount is not its own',
    spec.namespaces?.mount,
    'Mount it where these mounts are made: container.mount() of the other one, or mount(8) on this machine',
  );
}
