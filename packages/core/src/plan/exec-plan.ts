import { helperName, type IdMaps, type Leftovers, type NamespaceKind, type Step } from '@ns/launch';
import type { Host } from '../host.ts';
import {
  execLabelSteps,
  mappedStreamSteps,
  oomScoreSteps,
  type PayloadDesign,
  payloadSteps,
  standardStreamSteps,
  terminalSteps,
} from './payload-plan.ts';

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
  /** Of its user namespace, where it has one. */
  readonly idMaps: IdMaps | undefined;
  /** Its procfs, like all its mounts, is that of others. */
  readonly mountsOfOthers: boolean;
  readonly cwd: string;
  readonly cgroupProcs: readonly string[];
  readonly cgroupFd: boolean;
  /** No cgroup tells which processes are the command's: one that adopts them has to. */
  readonly adopt: boolean;
  readonly timeoutMs: number | undefined;
  readonly leftovers: Leftovers;
}

/**
 * The steps of `exec`.
 *
 * Nothing on the host is opened by path after the mount namespace is entered, and nothing of the container before it.
 */
export function execPlan(design: ExecDesign, host: Host): readonly Step[] {
  const { cgroup, foreign, outside, inside, later } = inJoinOrder(design);
  const goOnInside =
    later.length > 0 ? ({ op: 'goOnInside', terminal: design.terminal !== undefined } as const) : undefined;
  const terminal = terminalSteps(design).map((step) =>
    step.op === 'terminal' && goOnInside ? { ...step, goOnInside: true } : step,
  );
  const { mountsOfOthers, idMaps } = design;
  // Who opens a terminal has it, and gives it away: as the host's user he would be nobody inside, and could not.
  const asRoot: Step[] = idMaps && design.terminal ? [{ op: 'credentials', uid: 0, gid: 0 }] : [];
  const labelled = mountsOfOthers ? { ...design, execLabel: undefined } : design;
  const program: Step[] = [...asRoot, ...terminal, ...payloadSteps(labelled, host, goOnInside)];
  return [
    { op: 'endWithParent', parent: process.pid },
    { op: 'newSession' },
    { op: 'processName', name: helperName('ns-exec') },
    // Before the container's processes can see this one (CVE-2016-9962).
    { op: 'notDumpable' },
    ...mappedStreamSteps(design, idMaps),
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
        // In the container's own procfs it is not to be found yet, in that of others never.
        ...(goOnInside || mountsOfOthers ? execLabelSteps(design) : []),
        { op: 'newSession' },
        // Only from inside its cgroup: where cgroups are delegated, one may not enter them from outside the namespace.
        ...setnsSteps(cgroup),
        ...setnsSteps(inside),
        ...setnsSteps(later),
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
 * Namespaces by when they are joined. The monitor stays in the host's mount namespace, where it can clear up.
 *
 * In a pid namespace one can be seen, and who has CAP_SYS_PTRACE in there gets at whatever a process has that can be seen: the
 * root of the host, as long as it stands there, and its privileges, as long as it has them. The pid namespace is the last to be
 * joined then, and counts for the process that goes on inside. Where there is a user namespace, capabilities in it say nothing
 * about a process that was executed outside and refuses ptrace; and it has to be joined first, by the monitor, for it is what
 * allows the others, but for a cgroup namespace that another owns. What adopts has to stay inside, with what it needs to kill.
 */
function inJoinOrder({
  namespaces,
  adopt,
}: Pick<ExecDesign, 'namespaces' | 'adopt'>): Record<
  'cgroup' | 'foreign' | 'outside' | 'inside' | 'later',
  ExecDesign['namespaces']
> {
  const cgroup = namespaces.filter(({ kind }) => kind === 'cgroup');
  const foreign = namespaces.filter((namespace) => namespace.foreign && !cgroup.includes(namespace));
  const userIsAfterCgroup = cgroup.some((namespace) => namespace.foreign);
  const pidIsLast = !adopt && (userIsAfterCgroup || namespaces.every(({ kind }) => kind !== 'user'));
  const own = namespaces.filter(({ foreign: isForeign }) => !isForeign);
  const later = own.filter(({ kind }) => kind === 'pid' && pidIsLast);
  const outside = own.filter(({ kind }) => (kind === 'user' && !userIsAfterCgroup) || (kind === 'pid' && !pidIsLast));
  const inside = own.filter((namespace) => ![cgroup, outside, later].some((group) => group.includes(namespace)));
  return { cgroup, foreign, outside, inside, later };
}

/** One setns for each descriptor: a pidfd enters several namespaces at once. */
function setnsSteps(namespaces: ExecDesign['namespaces']): Step[] {
  const groups = new Map<string, NamespaceKind[]>();
  for (const { kind, fd } of namespaces) groups.set(fd, [...(groups.get(fd) ?? []), kind]);
  return [...groups].map(([fd, kinds]) => ({ op: 'setns', fd, namespaces: kinds }));
}
