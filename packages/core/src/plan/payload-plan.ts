import type { IdMaps, RlimitName, Step } from '@ns/launch';
import { IdMap } from '@ns/namespaces';
import type { Host } from '../host.ts';
import type { ResolvedUser } from '../user.ts';

/** A program and with what privileges it runs. */
export interface PayloadDesign {
  readonly argv: readonly string[];
  /** Where to look for the program, in order. */
  readonly candidates: readonly string[];
  readonly env: readonly string[];
  readonly user: ResolvedUser;
  readonly umask: number;
  readonly rlimits: readonly {
    readonly name: RlimitName;
    readonly soft: number;
    readonly hard: number;
    readonly required: boolean;
  }[];
  readonly oomScoreAdj: number | undefined;
  readonly capabilities: bigint;
  readonly noNewPrivileges: boolean;
  /** Its filter lets it: then the caller's must be out of reach. */
  readonly mayUseKeys: boolean;
  readonly seccomp: { readonly filter: Uint8Array; readonly flags: number; readonly listener: boolean } | undefined;
  readonly landlock: Extract<Step, { op: 'landlock' }> | undefined;
  readonly execLabel: { readonly file: string; readonly label: string } | undefined;
  /** Wait just before the program for the caller to say which. */
  readonly programLater: boolean;
  /** The user namespace does not allow setgroups(2). */
  readonly denySetgroups: boolean;
  /** Standard streams that are /dev/null, and those that are pipes of ours. */
  readonly nullFds: readonly number[];
  readonly pipeFds: readonly number[];
  readonly terminal: Pick<Extract<Step, { op: 'terminal' }>, 'rows' | 'columns' | 'orNode' | 'console'> | undefined;
}

/** With the root of the container as its own: what its standard streams refer to is the container's, and its user's. */
export function standardStreamSteps({
  nullFds,
  pipeFds,
  user: { uid, gid },
}: Pick<PayloadDesign, 'nullFds' | 'pipeFds' | 'user'>): Step[] {
  return [
    // The host's /dev/null must not stay reachable through a descriptor: fchmod on it would change the host's.
    ...(nullFds.length > 0 ? [{ op: 'stdioNull', fds: nullFds } as const] : []),
    ...(uid !== 0 && pipeFds.length > 0 ? [{ op: 'stdioOwner', fds: pipeFds, uid, gid } as const] : []),
  ];
}

/**
 * Pipes of ours for a program with ids of its own: outside of its user namespace yet, in which nobody could give away what belongs to
 * us. Without it `/dev/stdout` is not the program's to open.
 */
export function mappedStreamSteps(
  { pipeFds, user }: Pick<PayloadDesign, 'pipeFds' | 'user'>,
  idMaps: IdMaps | undefined,
): Step[] {
  if (!idMaps || pipeFds.length === 0) return [];
  const [uid, gid] = [IdMap.of(idMaps.uids).toHost(user.uid), IdMap.of(idMaps.gids).toHost(user.gid)];
  return uid === undefined || gid === undefined ? [] : [{ op: 'stdioOwner', fds: pipeFds, uid, gid }];
}

/** Through the host's procfs. */
export function oomScoreSteps({ oomScoreAdj }: Pick<PayloadDesign, 'oomScoreAdj'>): Step[] {
  return oomScoreAdj === undefined ? [] : [{ op: 'oomScoreAdj', value: oomScoreAdj }];
}

/** The label that the program will have, through the procfs of the pid namespace that this process is in. */
export function execLabelSteps({ execLabel }: Pick<PayloadDesign, 'execLabel'>): Step[] {
  return execLabel ? [{ op: 'execLabel', ...execLabel }] : [];
}

/**
 * From here on privileges only go away.
 *
 * @param goOnInside - the step by which it becomes visible inside, when it is not yet: it has its label for then already
 */
export function payloadSteps(design: PayloadDesign, host: Host, goOnInside?: Step): Step[] {
  const { user, seccomp, capabilities } = design;
  const filter: Step[] = seccomp ? [{ op: 'seccomp', ...seccomp }] : [];
  // Going on inside takes a process of the user's more, for as long as that takes; lowering needs no privilege.
  const later = design.rlimits.filter(({ name }) => name === 'nproc' && goOnInside);
  const rlimits = design.rlimits.map((limit) =>
    later.includes(limit)
      ? { ...limit, soft: Number.POSITIVE_INFINITY, hard: Number.POSITIVE_INFINITY, required: false }
      : limit,
  );
  return [
    ...(goOnInside ? [] : execLabelSteps(design)),
    // Without no_new_privs loading a filter takes CAP_SYS_ADMIN, which goes away next.
    ...(design.noNewPrivileges ? [] : filter),
    // Not before: the setup may need more than the program is allowed. Not after: raising a limit takes CAP_SYS_RESOURCE.
    ...rlimits.map(rlimitStep),
    { op: 'boundingSet', keep: capabilities, lastCapability: host.lastCapability },
    {
      op: 'credentials',
      uid: user.uid,
      gid: user.gid,
      ...(design.denySetgroups ? {} : { groups: user.groups }),
    },
    // For an ordinary user execve would take them anyway; so none are left to a program that fails to execute.
    { op: 'capabilities', permitted: capabilities, effective: user.uid === 0 ? capabilities : 0n },
    { op: 'umask', mask: design.umask },
    ...(design.noNewPrivileges ? [{ op: 'noNewPrivileges' } as const] : []),
    ...(design.landlock ? [design.landlock] : []),
    ...(goOnInside ? [goOnInside] : []),
    ...later.map(rlimitStep),
    { op: 'closeFds' },
    { op: 'unblockSignals' },
    // Last: the filter need not allow any of the above.
    ...(design.noNewPrivileges ? filter : []),
    design.programLater ? { op: 'receiveSteps' } : execStep(design),
  ];
}

function rlimitStep(limit: PayloadDesign['rlimits'][number]): Step {
  return { op: 'rlimit', ...limit };
}

/** The program itself: the last step of all. */
export function execStep({ candidates, argv, env }: Pick<PayloadDesign, 'candidates' | 'argv' | 'env'>): Step {
  return { op: 'exec', candidates, argv, env };
}

/** The program does not begin before the caller has given its terminal the size it asked for. */
export function terminalSteps({ terminal, user }: Pick<PayloadDesign, 'terminal' | 'user'>): Step[] {
  return terminal ? [{ op: 'terminal', ...terminal, uid: user.uid }, { op: 'park' }] : [];
}
