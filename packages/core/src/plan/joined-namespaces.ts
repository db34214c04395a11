import type { IdMaps, NamespaceKind, Step } from '@ns/launch';
import type { ContainerDesign } from './container-plan.ts';
import { oomScoreSteps } from './payload-plan.ts';

/** Which namespaces are new, which exist. */
export interface NamespaceDesign {
  readonly created: readonly NamespaceKind[];
  readonly joined: readonly JoinedNamespace[];
  /** Of its user namespace, a new one unless that is among those joined. */
  readonly idMaps: IdMaps | undefined;
  readonly timeOffsets: { readonly monotonicNs: number; readonly boottimeNs: number } | undefined;
}

/** An existing one. */
export interface JoinedNamespace {
  readonly kind: NamespaceKind;
  /** Its descriptor, by name of the launch's `fds`. */
  readonly fd: string;
  /** By the user namespace that is joined, too. */
  readonly isOwned?: boolean;
}

/** Is its user namespace a new one? */
export function hasNewIds({ idMaps, joined }: NamespaceDesign): boolean {
  return idMaps !== undefined && joined.every(({ kind }) => kind !== 'user');
}

/**
 * Namespaces of others by who enters them, in order.
 *
 * The monitor keeps the host's user namespace, in which it clears up, and its cgroup namespace: where cgroups are delegated, none
 * can be entered from a namespace that it is not in (nsdelegate, cgroups(7)). What the first process cannot enter in their place,
 * being born in a user namespace by then, a process between the two does: what the host owns first, then the user namespace,
 * then what that owns. Mounts come last, when nothing on the host is opened by path any more.
 */
export function inJoinOrder({
  joined,
  idMaps,
}: NamespaceDesign): Record<'byMonitor' | 'between' | 'byInit' | 'mounts', readonly JoinedNamespace[]> {
  const mounts = joined.filter(({ kind }) => kind === 'mnt');
  const others = joined.filter(({ kind }) => kind !== 'mnt');
  const user = others.filter(({ kind }) => kind === 'user');
  const cgroup = others.filter(({ kind }) => kind === 'cgroup');
  if (user.length === 0 && (cgroup.length === 0 || !idMaps))
    return { byMonitor: others.filter(({ kind }) => kind !== 'cgroup'), between: [], byInit: cgroup, mounts };
  const foreign = others.filter(({ kind, isOwned = false }) => kind !== 'user' && !isOwned);
  return {
    byMonitor: [],
    between: [...foreign, ...user, ...others.filter(({ isOwned }) => isOwned)],
    byInit: [],
    mounts,
  };
}

/** What a process does that enters namespaces and goes on as the first one of the container. */
export function stepsBetween(
  design: ContainerDesign,
  joined: readonly JoinedNamespace[],
  bornInto: readonly NamespaceKind[],
): Step[] {
  if (joined.length === 0) return [];
  const { namespaces, cgroupProcs } = design;
  const sharesUser = joined.some(({ kind }) => kind === 'user');
  return [
    { op: 'dieWithParent' },
    ...cgroupProcs.map((procs): Step => ({ op: 'joinCgroup', procs })),
    // While the files of this process in procfs are its own.
    ...oomScoreSteps(design),
    // Who has CAP_SYS_PTRACE over that user namespace may see us from the host's pid namespace, too, with the host's root.
    ...(sharesUser ? [{ op: 'notDumpable' } as const] : []),
    ...setnsSteps(joined),
    {
      op: 'goOnIn',
      namespaces: [...(hasNewIds(namespaces) ? (['user'] as const) : []), ...bornInto],
      ...(namespaces.idMaps && { idMaps: namespaces.idMaps }),
    },
  ];
}

/** Enters each by its descriptor. */
export function setnsSteps(joined: readonly JoinedNamespace[]): Step[] {
  return joined.map(({ kind, fd }) => ({ op: 'setns', fd, namespaces: [kind] }));
}
