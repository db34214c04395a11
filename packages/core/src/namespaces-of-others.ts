import { existsSync } from 'node:fs';
import type { NamespaceKind } from '@ns/launch';
import { type ProcessIdentity, ResourceStack, SpecError } from '@ns/libc';
import { listNamespaces, Namespace } from '@ns/namespaces';
import { type ContainerState, findState } from './container-state.ts';
import { ContainerStateError } from './errors.ts';
import { descendantsOf } from './process-list.ts';
import type { ContainerSpec, NamespaceChoice } from './types.ts';

/** An id, a name, or the object. */
export type ContainerReference = string | { readonly id: string };

/** A namespace that exists, of a container or by a path. */
export type NamespaceOfOthers = Extract<NamespaceChoice, object>;

/** Does somebody else decide about it? */
export function isOfOthers(choice: unknown): choice is NamespaceOfOthers {
  return typeof choice === 'object' && choice !== null && ('container' in choice || 'path' in choice);
}

/** What is known of a container, whichever process made it. */
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

/** Checked to be a namespace of this kind; a FIFO or a device is not opened to find out. */
export function openOfOthers(choice: NamespaceOfOthers, kind: NamespaceKind): Namespace {
  if ('path' in choice) return Namespace.open(kind, { path: choice.path });
  using rollback = new ResourceStack();
  const namespace = ofMember(choice, kind, (pid) =>
    rollback.use(Namespace.open(kind, { path: `/proc/${pid}/ns/${kind}` })),
  );
  rollback.release();
  return namespace;
}

/**
 * What is to be known of a process in it.
 *
 * @throws ContainerStateError, SpecError as {@link memberOf}, also when it ends meanwhile: what was read is that of who got its pid
 */
export function ofMember<T>(choice: NamespaceOfOthers, kind: NamespaceKind, read: (pid: number) => T): T {
  const pid = memberOf(choice, kind);
  try {
    return read(pid);
  } finally {
    memberOf(choice, kind);
  }
}

/**
 * A process in it: what there is to know of ids, and of a root, the kernel tells of processes.
 *
 * @throws ContainerStateError `ERR_NS_CONTAINER_NOT_RUNNING`
 * @throws SpecError no process is to be seen in it
 */
export function memberOf(choice: NamespaceOfOthers, kind: NamespaceKind): number {
  if ('container' in choice) {
    const { pid } = runningInit(choice.container, `share its ${kind} namespace`);
    return showingNamespaces(pid);
  }
  using namespace = Namespace.open(kind, choice);
  const [, named] = /^\/proc\/(\d+)\/ns\/\w+$/.exec(choice.path) ?? [];
  const inside = () => listNamespaces({ kinds: [kind] }).find(({ name }) => name === namespace.name)?.processes;
  // Who has ended and was not waited for yet is in no namespace any more but that of its user.
  const found = named ?? inside()?.find((pid) => existsSync(`/proc/${pid}/ns/mnt`));
  if (found !== undefined) return Number(found);
  throw new SpecError(
    `namespaces.${kind === 'mnt' ? 'mount' : kind}`,
    'a namespace that a process is in',
    choice,
    'Keep a process in it, as sleep(1): what its ids are, and its root, the kernel tells of processes',
  );
}

/** Of a container, given by its first process, the one that shows its namespaces: to an ordinary user that is its program. */
export function showingNamespaces(pid: number): number {
  return process.geteuid!() === 0 ? pid : (descendantsOf(pid)[1] ?? pid);
}

/**
 * A specification in which the namespaces of others are those that its own process is in; without one, which nobody enters any
 * more, its own.
 */
export function withNamespacesOf<Spec extends Pick<ContainerSpec, 'namespaces' | 'network'>>(
  pid: number | undefined,
  spec: Spec,
): Spec {
  const own = (kind: NamespaceKind): NamespaceChoice =>
    pid === undefined ? 'private' : { path: `/proc/${pid}/ns/${kind}` };
  const choices = Object.entries(spec.namespaces ?? {}).map(([name, choice]) => [
    name,
    isOfOthers(choice) ? own(name === 'mount' ? 'mnt' : (name as NamespaceKind)) : choice,
  ]);
  const network = isOfOthers(spec.network) ? { network: pid === undefined ? 'none' : own('net') } : {};
  return { ...spec, ...(spec.namespaces && { namespaces: Object.fromEntries(choices) }), ...network };
}
