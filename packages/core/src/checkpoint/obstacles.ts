import { NsError } from '@ns/libc';
import { chosenWritable } from '../kept-writes.ts';
import { isOfOthers } from '../namespaces-of-others.ts';
import type { ContainerSpec } from '../types.ts';

/** A field of a specification with which a container cannot be checkpointed, and why. */
interface Obstacle {
  readonly field: string;
  readonly why: string;
  readonly isThere: (spec: ContainerSpec) => boolean;
}

const ownNamespaces = ['pid', 'net', 'mount', 'uts', 'ipc', 'cgroup'] as const;

const obstacles: readonly Obstacle[] = [
  { field: 'tty', why: 'the other side of its terminal is outside', isThere: ({ tty = false }) => tty },
  {
    field: 'lifetime.dieWithParent',
    why: 'its output is written to files by its monitor, which is outside',
    isThere: ({ lifetime }) => lifetime?.dieWithParent === false,
  },
  {
    field: 'network',
    why: 'addresses, routes and peers of a network are outside',
    isThere: ({ network = 'none' }) => network !== 'none',
  },
  {
    field: 'namespaces',
    why: 'namespaces that others are in cannot be taken along',
    isThere: ({ namespaces = {} }) =>
      ownNamespaces.some((kind) => (namespaces[kind] ?? 'private') !== 'private') ||
      [namespaces.time, namespaces.user].some(isOfOthers),
  },
  {
    field: 'idMap',
    why: 'CRIU cannot give a user namespace back the network namespace that it owns',
    isThere: ({ idMap, namespaces }) => idMap !== undefined || namespaces?.user === 'private',
  },
  { field: 'onSyscall', why: 'the handler of its system calls is outside', isThere: ({ onSyscall }) => !!onSyscall },
  {
    field: 'landlock',
    why: 'the kernel shows nobody the Landlock rules of a process',
    isThere: ({ landlock }) => landlock !== undefined,
  },
  {
    field: 'selinux',
    why: 'the labels of its mounts are not restored',
    isThere: ({ selinux }) => selinux !== undefined,
  },
  {
    field: 'cgroupAccess',
    why: 'the cgroups that it made itself are not restored',
    isThere: ({ cgroupAccess }) => cgroupAccess === 'delegated',
  },
  {
    field: 'writable',
    why: 'its files must be a part of the checkpoint, and others may use a directory that keeps them',
    isThere: (spec) => {
      const writable = chosenWritable(spec) ?? 'tmpfs';
      return writable === 'direct' || (typeof writable === 'object' && !('tmpfs' in writable));
    },
  },
  {
    field: 'mounts',
    why: 'volumes, files kept off disks, and mounts with mapped ids cannot be taken along',
    isThere: ({ mounts = [] }) =>
      mounts.some(
        (mount) =>
          mount.type === 'volume' ||
          mount.type === 'file' ||
          ((mount.type ?? 'bind') === 'bind' && 'owner' in mount && mount.owner !== undefined),
      ),
  },
];

/**
 * What ties a container to things that are not its own cannot be written down and read again.
 *
 * @throws NsError `ERR_NS_NOT_CHECKPOINTABLE` naming the field
 */
export function checkCheckpointable(spec: ContainerSpec): void {
  const found = obstacles.find(({ isThere }) => isThere(spec));
  if (!found) return;
  throw new NsError(
    'ERR_NS_NOT_CHECKPOINTABLE',
    `a container with this ${found.field} has no checkpoints: ${found.why}`,
    {
      hint: `Make it without ${found.field}, or with its default`,
    },
  );
}
