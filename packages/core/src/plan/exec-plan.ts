import type { NamespaceKind, Step } from '@ns/launch';
import type { Host } from '../host.ts';
import type { ResolvedUser } from '../user.ts';
import { type PayloadDesign, payloadSteps } from './container-plan.ts';

/** A command to run in a container that runs already. */
export interface ExecDesign extends PayloadDesign {
  readonly containerId: string;
  /** Namespaces the container has of its own. */
  readonly namespaces: readonly NamespaceKind[];
  readonly user: ResolvedUser;
  readonly cwd: string;
  readonly cgroupProcs: readonly string[];
  readonly cgroupFd: boolean;
  readonly timeoutMs: number | undefined;
  readonly pipeFds: readonly number[];
  readonly terminal: { readonly rows: number; readonly columns: number } | undefined;
}

/**
 * The steps of `exec`. The descriptor `target` is a pidfd of the container's first process.
 *
 * Nothing on the host is opened by path after setns, and nothing of the container before it.
 */
export function execPlan(design: ExecDesign, host: Host): readonly Step[] {
  const { user, pipeFds } = design;
  const joined = design.namespaces.filter((kind) => kind !== 'cgroup');
  return [
    { op: 'dieWithParent', parent: process.pid },
    { op: 'newSession' },
    { op: 'processName', name: 'ns-exec' },
    // Before the container's processes can see this one (CVE-2016-9962).
    { op: 'notDumpable' },
    ...design.cgroupProcs.map((procs): Step => ({ op: 'joinCgroup', procs })),
    { op: 'setns', fd: 'target', namespaces: joined },
    {
      op: 'clone',
      supervisor: 'monitor',
      namespaces: [],
      ...(design.timeoutMs !== undefined && { timeoutMs: design.timeoutMs }),
      ...(design.cgroupFd && { intoCgroup: 'cgroup' }),
      child: [
        { op: 'dieWithParent' },
        { op: 'newSession' },
        // Only from inside its cgroup: where cgroups are delegated, one may not enter them from outside the namespace.
        ...(design.namespaces.includes('cgroup')
          ? [{ op: 'setns', fd: 'target', namespaces: ['cgroup'] } as const]
          : []),
        { op: 'sessionKeyring', name: `_ses.${design.containerId}` },
        ...(design.terminal ? [{ op: 'terminal', ...design.terminal, uid: user.uid } as const] : []),
        ...(user.uid !== 0 && pipeFds.length > 0
          ? [{ op: 'stdioOwner', fds: pipeFds, uid: user.uid, gid: user.gid } as const]
          : []),
        { op: 'workingDirectory', path: design.cwd, create: false },
        ...payloadSteps(design, host),
      ],
    },
  ];
}
