import { isDeepStrictEqual } from 'node:util';
import { resolveCapabilities } from '@ns/capabilities';
import type { IdMaps, NamespaceKind } from '@ns/launch';
import { type ResourceStack, SpecError } from '@ns/libc';
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
  const created: NamespaceKind[] = [];
  const joined: { kind: NamespaceKind; fd: string }[] = [];
  let timeOffsets: NamespaceDesign['timeOffsets'];
  const join = (kind: NamespaceKind, path: string) => {
    // Checked to be a namespace of this kind; a FIFO or a device is not opened to find out.
    const namespace = owner.use(Namespace.open(kind, { path }));
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
    if (kind === 'pid' && typeof choice === 'object') checkSharedPids(choice as NamespaceChoice & object, idMaps);
    if (typeof choice === 'object' && 'path' in choice) join(kind, choice.path);
    else if (typeof choice === 'object' && 'container' in choice) join(kind, namespaceOf(choice.container, kind));
    else if (kind === 'user') continue;
    else {
      created.push(kind);
      if (kind === 'time' && typeof choice === 'object') {
        const { monotonicNs = 0, boottimeNs = 0 } = choice as { monotonicNs?: number; boottimeNs?: number };
        timeOffsets = { monotonicNs, boottimeNs };
      }
    }
  }
  if (!created.includes('mnt'))
    throw new SpecError(
      'namespaces.mount',
      "'private'",
      choices.mount,
      'A container without mounts of its own is the host',
    );
  // A user namespace must be entered first: it owns the others.
  joined.sort((a, b) => Number(b.kind === 'user') - Number(a.kind === 'user'));
  return { created, joined, idMaps, timeOffsets };
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
  const isOfTheHost = spec.idMap === undefined && (spec.namespaces?.user ?? 'host') === 'host';
  if (spec.privileged || !isOfTheHost || !resolveCapabilities(spec.capabilities).set.has('CAP_SYS_PTRACE')) return;
  refuse(
    'the pid namespace of a container without CAP_SYS_PTRACE',
    'Give CAP_SYS_PTRACE to the container that joins, or that one ids of its own (idMap)',
  );
}

function stateOf(container: string | { readonly id: string }): ContainerState {
  return findState(typeof container === 'string' ? container : container.id);
}

/** The namespace file of a running container's first process. */
function namespaceOf(container: string | { readonly id: string }, kind: NamespaceKind): string {
  const { id, init, status } = stateOf(container);
  if (status === 'stopped' || !init)
    throw new ContainerStateError(
      'ERR_NS_CONTAINER_NOT_RUNNING',
      id.slice(0, 12),
      status,
      `share its ${kind} namespace`,
    );
  return `/proc/${init.pid}/ns/${kind}`;
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
