import { helperName, type Leftovers, type NamespaceKind, type Step } from '@ns/launch';
import type { Host } from '../host.ts';
import type { ResolvedUser } from '../user.ts';
import {
  oomScoreSteps,
  type PayloadDesign,
  payloadSteps,
  standardStreamSteps,
  terminalSteps,
} from './container-plan.ts';

/** A command to run in a container that runs already. */
export interface ExecDesign extends PayloadDesign {
  /** Joins that of the container. */
  readonly sessionKeyring: Step;
  /** Namespaces of the container, each by the name of its descriptor, or all by `target`, a pidfd. The owning user namespace first. */
  readonly namespaces: readonly {
    readonly kind: NamespaceKind;
    readonly fd: string;
    /** Another user namespace than the container's owns it. */
    readonly foreign?: boolean;
  }[];
  readonly user: ResolvedUser;
  readonly cwd: string;
  readonly cgroupProcs: readonly string[];
  readonly cgroupFd: boolean;
  /** No cgroup tells which processes are the command's: one that adopts them has to. */
  readonly adopt: boolean;
  readonly timeoutMs: number | undefined;
  readonly leftovers: Leftovers;
  readonly pipeFds: readonly number[];
  /** Standard streams that are /dev/null. */
  readonly nullFds: readonly number[];
  readonly terminal: { readonly rows: number; readonly columns: number } | undefined;
}

/**
 * The steps of `exec`.
 *
 * Nothing on the host is opened by path after setns, and nothing of the container before it.
 */
export function execPlan(design: ExecDesign, host: Host): readonly Step[] {
  const { cgroup, foreign, outside, inside } = inJoinOrder(design.namespaces);
  const program: Step[] = [...terminalSteps(design), ...payloadSteps(design, host)];
  return [
    { op: 'endWithParent', parent: process.pid },
    { op: 'newSession' },
    { op: 'processName', name: helperName('ns-exec') },
    // Before the container's processes can see this one (CVE-2016-9962).
    { op: 'notDumpable' },
    // From inside the container's user namespace they could not be entered.
    ...setnsSteps(foreign),
    ...setnsSteps(outside),
    {
      op: 'clone',
      supervisor: 'monitor',
      namespaces: [],
      ...(design.timeoutMs !== undefined && { timeoutMs: design.timeoutMs }),
      ...(design.cgroupFd && { intoCgroup: 'cgroupDirectory' }),
      leftovers: design.leftovers,
      child: [
        { op: 'dieWithParent' },
        ...design.cgroupProcs.map((procs): Step => ({ op: 'joinCgroup', procs })),
        ...oomScoreSteps(design),
        { op: 'newSession' },
        // Only from inside its cgroup: where cgroups are delegated, one may not enter them from outside the namespace.
        ...setnsSteps(cgroup),
        ...setnsSteps(inside),
        design.sessionKeyring,
        ...standardStreamSteps(design),
        { op: 'workingDirectory', path: design.cwd, create: false },
        ...(design.adopt
          ? [
              {
                op: 'clone',
                supervisor: 'init',
                adopt: true,
                namespaces: [],
                child: [{ op: 'newSession' }, ...program],
              } as const,
            ]
          : program),
      ],
    },
  ];
}

/**
 * Namespaces by when they are joined. The monitor joins only what its child could not: a pid namespace counts from the next
 * process on, and the user namespace is what allows the others. In the host's mount namespace it can clear up.
 */
function inJoinOrder(
  namespaces: ExecDesign['namespaces'],
): Record<'cgroup' | 'foreign' | 'outside' | 'inside', ExecDesign['namespaces']> {
  const cgroup = namespaces.filter(({ kind }) => kind === 'cgroup');
  const foreign = namespaces.filter((namespace) => namespace.foreign);
  const outside = namespaces.filter(
    ({ kind, foreign: isForeign }) => !isForeign && (kind === 'user' || kind === 'pid'),
  );
  const inside = namespaces.filter(
    (namespace) => ![cgroup, foreign, outside].some((group) => group.includes(namespace)),
  );
  return { cgroup, foreign, outside, inside };
}

/** One setns for each descriptor: a pidfd enters several namespaces at once. */
function setnsSteps(namespaces: ExecDesign['namespaces']): Step[] {
  const groups = new Map<string, NamespaceKind[]>();
  for (const { kind, fd } of namespaces) groups.set(fd, [...(groups.get(fd) ?? []), kind]);
  return [...groups].map(([fd, kinds]) => ({ op: 'setns', fd, namespaces: kinds }));
}
