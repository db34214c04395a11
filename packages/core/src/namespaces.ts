import { isDeepStrictEqual } from 'node:util';
import { resolveCapabilities } from '@ns/capabilities';
import type { IdMaps, NamespaceKind } from '@ns/launch';
import { type ProcessIdentity, type ResourceStack, SpecError } from '@ns/libc';
import { Namespace } from '@ns/namespaces';
import { type ContainerState, findState } from './container-state.ts';
import { ContainerStateError } from './errors.ts';
import { wantsNetwork, wantsUserNetwork } from './network/network-spec.ts';
import type { NamespaceDesign } from './plan/container-plan.ts';
import type { ContainerSpec, NamespaceChoice } from './types.ts';

/** Names in a specification, with the kernel's. */
const kinds: Readonly<Record<string, NamespaceKind>> = {
  user: 'user',
  mount: 'mnt',
  uts: 'uts',
  ipc: 'ipc',
  net: 'net',
  pid: 'pid',
  cgroup: 'cgroup',
  time: 'time',
};

/**
 * Decides for each kind of namespace: new, the host's, or an existing one, which is opened.
 *
 * @param owner - receives the opened descriptors
 * @param fds - receives their numbers, under names that steps use
 * @param network - the network namespace that was made for the container
 */
export function resolveNamespaces(
  spec: ContainerSpec,
  idMaps: IdMaps | undefined,
  owner: ResourceStack,
  fds: Record<string, number>,
  network?: { readonly fd: number | undefined },
): NamespaceDesign {
  const choices = spec.namespaces ?? {};
  checkMounts(choices.mount);
  const created: NamespaceKind[] = [];
  const joined: { kind: NamespaceKind; fd: string }[] = [];
  let timeOffsets: NamespaceDesign['timeOffsets'];
  const join = (kind: NamespaceKind, path: string) => {
    // Checked to be a namespace of this kind; a FIFO or a device is not opened to find out.
    const namespace = owner.use(Namespace.open(kind, { path }));
    if (kind === 'user') return checkSharedIds(namespace, choices.user);
    const name = `namespace-${kind}`;
    fds[name] = namespace.fd;
    joined.push({ kind, fd: name });
  };
  for (const [name, kind] of Object.entries(kinds)) {
    const choice = name === 'net' ? networkChoice(spec) : choices[name as keyof typeof choices];
    if (kind === 'net' && wantsNetwork(spec)) {
      const handle = 'namespace-net';
      // Without one it is a design to look at.
      fds[handle] = network?.fd ?? -1;
      joined.push({ kind, fd: handle });
      continue;
    }
    if (choice === 'host') continue;
    if (isOfOthers(choice)) {
      if (kind === 'pid') checkSharedPids(choice, idMaps);
      join(kind, 'path' in choice ? choice.path : namespaceOf(choice.container, kind));
    } else if (kind === 'user') continue;
    else {
      created.push(kind);
      if (kind === 'time' && typeof choice === 'object') {
        const { monotonicNs = 0, boottimeNs = 0 } = choice;
        timeOffsets = { monotonicNs, boottimeNs };
      }
    }
  }
  return { created, joined, idMaps, timeOffsets };
}

/**
 * A container begins with mounts: its root is one.
 *
 * @throws SpecError for those of others
 */
function checkMounts(choice: NamespaceChoice = 'private'): void {
  if (choice === 'private') return;
  const hint =
    choice === 'host'
      ? 'What is on the host is shown to it by rootfs: { host: true, show }, and by mounts of type bind'
      : 'To run a command in the mounts of a container, use its exec(); to share files with it, a volume';
  throw new SpecError('namespaces.mount', "'private'", choice, hint);
}

/**
 * The user namespace that this process is in is nothing to join. In that of others the privileges are gone that a container is set
 * up with; and their ids are given to somebody else when they end.
 *
 * @throws SpecError for that of others
 */
function checkSharedIds(namespace: Namespace, choice: NamespaceChoice | undefined): void {
  using own = Namespace.current('user');
  if (isDeepStrictEqual(namespace.id, own.id)) return;
  const hint =
    "Leave it out, or give the container ids of its own (idMap): the same as those of another, and files of both are the same users'";
  throw new SpecError('namespaces.user', "'private', 'host', or that of a container without idMap", choice, hint);
}

/** Are its processes in a pid namespace of others, whose first process does not take them along when it ends? */
export function sharesPids({ namespaces }: Pick<ContainerSpec, 'namespaces'>): boolean {
  return namespaces?.pid !== undefined && namespaces.pid !== 'private';
}

/**
 * A container is set up by a process in its pid namespace, which has to be there to mount its procfs. In one that others have,
 * they see that process, with the host's privileges.
 *
 * @throws SpecError what they could do with it is more than look
 */
function checkSharedPids(choice: NamespaceChoice & object, idMaps: IdMaps | undefined): void {
  const refuse = (expected: string, hint: string) => {
    throw new SpecError('namespaces.pid', expected, choice, hint);
  };
  if (idMaps)
    refuse(
      "'private' or 'host' together with idMap",
      'Leave idMap out: no procfs of others can be mounted with ids of its own',
    );
  if (!('container' in choice)) return;
  const { spec } = stateOf(choice.container);
  const isOfTheHost = spec.idMap === undefined && spec.namespaces?.user !== 'private';
  if (spec.privileged || !isOfTheHost || !resolveCapabilities(spec.capabilities).set.has('CAP_SYS_PTRACE')) return;
  refuse(
    'the pid namespace of a container without CAP_SYS_PTRACE',
    'Give CAP_SYS_PTRACE to the container that joins, or that one ids of its own (idMap)',
  );
}

/** An id, a name, or the object. */
export type ContainerReference = string | { readonly id: string };

function stateOf(container: ContainerReference): ContainerState {
  return findState(typeof container === 'string' ? container : container.id);
}

/**
 * The first process of a running container.
 *
 * @throws ContainerStateError `ERR_NS_CONTAINER_NOT_RUNNING`
 */
export function runningInit(container: ContainerReference, wanted: string): ProcessIdentity {
  const { id, init, status } = stateOf(container);
  if (init && status !== 'stopped') return init;
  throw new ContainerStateError('ERR_NS_CONTAINER_NOT_RUNNING', id.slice(0, 12), status, wanted);
}

/** The namespace file of a running container's first process. */
function namespaceOf(container: ContainerReference, kind: NamespaceKind): string {
  return `/proc/${runningInit(container, `share its ${kind} namespace`).pid}/ns/${kind}`;
}

/** Does somebody else decide about it? */
export function isOfOthers(choice: unknown): choice is NamespaceChoice & object {
  return typeof choice === 'object' && choice !== null && ('container' in choice || 'path' in choice);
}

function networkChoice(spec: ContainerSpec): NamespaceChoice {
  const { namespaces, network } = spec;
  const ofItsOwn = network === 'none' || wantsUserNetwork(spec) || wantsNetwork(spec);
  const choice = ofItsOwn ? 'private' : (network as NamespaceChoice | undefined);
  const { net = choice } = namespaces ?? {};
  if (choice !== undefined && !isDeepStrictEqual(net, choice))
    throw new SpecError('namespaces.net', `what network says (${JSON.stringify(choice)}), or nothing`, net);
  return net ?? 'private';
}
