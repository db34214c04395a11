import { readlinkSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { resolveCapabilities } from '@ns/capabilities';
import type { IdMaps, NamespaceKind } from '@ns/launch';
import { hasCode, type ResourceStack, SpecError } from '@ns/libc';
import { Namespace } from '@ns/namespaces';
import { type ContainerState, readAllStates } from './container-state.ts';
import { isOfOthers, type NamespaceOfOthers, openOfOthers } from './namespaces-of-others.ts';
import { wantsNetwork, wantsUserNetwork } from './network/network-spec.ts';
import type { JoinedNamespace, NamespaceDesign } from './plan/joined-namespaces.ts';
import { sharesMounts } from './shared-mounts.ts';
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
  const joined: JoinedNamespace[] = [];
  let timeOffsets: NamespaceDesign['timeOffsets'];
  const user = idMaps && isOfOthers(choices.user) ? owner.use(openOfOthers(choices.user, 'user')) : undefined;
  const join = (kind: NamespaceKind, choice: NamespaceOfOthers) => {
    const namespace = kind === 'user' ? user : owner.use(openOfOthers(choice, kind));
    // The one that this process is in is nothing to join.
    if (!namespace) return;
    const isOwned = user !== undefined && kind !== 'user' && isOwnedBy(namespace, user);
    if (kind === 'pid') checkSharedPids(namespace, choice, { idMaps, isOwned });
    if (kind === 'mnt') checkSharedMounts(namespace, choice, idMaps && (user ?? 'new'));
    if (kind !== 'user' && !isOwned && process.geteuid!() !== 0) refuseToOrdinaryUser(kind, choice);
    const name = `namespace-${kind}`;
    fds[name] = namespace.fd;
    joined.push({ kind, fd: name, ...(isOwned && { isOwned }) });
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
    if (choice === 'host') {
      if (kind === 'pid' && idMaps && !sharesMounts(spec)) refuseProcessesOfHost(choice);
      continue;
    }
    if (isOfOthers(choice)) join(kind, choice);
    else if (kind === 'user') continue;
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
 * Whose user namespace owns them decides who may do what in them; from another one they can be entered only with the privileges
 * of the host, which programs that others have put there would then run with.
 *
 * @throws SpecError for those that the container's own user namespace does not own
 */
function checkSharedMounts(mounts: Namespace, choice: NamespaceOfOthers, user: Namespace | 'new' | undefined): void {
  using own = Namespace.current('user');
  if (user !== 'new' && isOwnedBy(mounts, user ?? own)) return;
  throw new SpecError(
    'namespaces.mount',
    'mounts that its user namespace owns',
    choice,
    user === 'new'
      ? 'Share the user namespace of the other, too (namespaces.user), in the place of idMap'
      : 'Share the user namespace of the other, too: namespaces.user',
  );
}

/** To enter a namespace takes privileges in the user namespace that owns it: he has them in those that he made. */
function refuseToOrdinaryUser(kind: NamespaceKind, choice: NamespaceOfOthers): never {
  throw new SpecError(
    `namespaces.${kind}`,
    'for an ordinary user a namespace that the user namespace it shares owns',
    choice,
    'Share the user namespace of the other, too: namespaces.user',
  );
}

/** To mount the procfs of a pid namespace takes privileges over it, which nobody with ids of his own has over that of the host. */
function refuseProcessesOfHost(choice: NamespaceChoice): never {
  throw new SpecError(
    'namespaces.pid',
    "'private' together with ids of its own",
    choice,
    "Its mounts, too, can be those of this machine, which have that procfs: namespaces.mount: 'host'",
  );
}

/** Of one that is not in sight nobody here is the owner. */
function isOwnedBy(namespace: Namespace, user: Namespace): boolean {
  try {
    using owner = namespace.owner();
    return owner.equals(user);
  } catch (error) {
    if (hasCode(error, 'EPERM')) return false;
    throw error;
  }
}

/** Are its processes in a pid namespace of others, whose first process does not take them along when it ends? */
export function sharesPids({ namespaces }: Pick<ContainerSpec, 'namespaces'>): boolean {
  return namespaces?.pid !== undefined && namespaces.pid !== 'private';
}

/**
 * A container is set up by a process in its pid namespace, which has to be there to mount its procfs. In one that others have,
 * they see that process, with the host's privileges; in a user namespace that they share it has none over them, nor they over it.
 *
 * @throws SpecError what they could do with it is more than look
 */
function checkSharedPids(
  namespace: Namespace,
  choice: NamespaceOfOthers,
  { idMaps, isOwned }: { readonly idMaps: IdMaps | undefined; readonly isOwned: boolean },
): void {
  const refuse = (expected: string, hint: string) => {
    throw new SpecError('namespaces.pid', expected, choice, hint);
  };
  if (isOwned) return;
  if (idMaps)
    refuse(
      "'private' together with ids of its own",
      'No procfs of others can be mounted with ids of its own: leave idMap out, or share their user namespace, too',
    );
  if (!('container' in choice)) return;
  const tracer = readAllStates().find((state) => isIn(state, namespace) && mayTrace(state));
  if (!tracer) return;
  refuse(
    'a pid namespace in which no container has CAP_SYS_PTRACE',
    `Container ${tracer.name ?? tracer.id.slice(0, 12)} has it: end it first, or give it ids of its own (idMap)`,
  );
}

/** May it look into processes of root, where it sees them? A privileged container may do anything anywhere. */
function mayTrace({ spec: { idMap, namespaces, privileged, capabilities } }: ContainerState): boolean {
  const isOfTheHost = idMap === undefined && namespaces?.user !== 'private';
  return !privileged && isOfTheHost && resolveCapabilities(capabilities).set.has('CAP_SYS_PTRACE');
}

/** Are the processes of a container in it? */
function isIn({ init, status }: ContainerState, namespace: Namespace): boolean {
  if (!init || status === 'stopped') return false;
  try {
    return readlinkSync(`/proc/${init.pid}/ns/pid`) === namespace.name;
  } catch {
    // It has ended.
    return false;
  }
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
