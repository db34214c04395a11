import { basename } from 'node:path';
import type { Cgroup, JoinPlan } from '@ns/cgroups';
import { candidatesFor, launch, type NamespaceKind, type StandardStreams, type Step } from '@ns/launch';
import { ownTurn, ResourceStack } from '@ns/libc';
import { readAccounts } from './container-cgroup.ts';
import { connectTerminal } from './container-launch.ts';
import { beginProcess, type ContainerProcess, type Running } from './container-process.ts';
import { firstTerminal } from './design.ts';
import { endAdopted } from './end-adopted.ts';
import type { ExecCgroups } from './exec-cgroups.ts';
import { readHost } from './host.ts';
import { openContainerRoot } from './in-mount-namespace.ts';
import { type ContainerDesign, sessionKeyringStep } from './plan/container-plan.ts';
import { execPlan } from './plan/exec-plan.ts';
import type { NamespaceDesign } from './plan/joined-namespaces.ts';
import { RecentCommands } from './recent-commands.ts';
import type { RunProcess } from './run-handle.ts';
import type { ContainerSpec, RunOptions } from './types.ts';
import { type ResolvedUser, resolveUser } from './user.ts';

/** Options of `exec`. What is not given is as the container's own program has it. */
export interface ExecOptions
  extends Pick<
    RunOptions,
    'user' | 'groups' | 'stdin' | 'timeout' | 'signal' | 'maxOutput' | 'check' | 'encoding' | 'buffer' | 'umask' | 'tty'
  > {
  /** Added to the environment of the container; a variable of the same name is replaced. */
  readonly env?: Readonly<Record<string, string>>;
  /** Absolute, inside the root; has to be there (`ERR_NS_CONTAINER_START`). Default: the container's. */
  readonly cwd?: string;
}

/** A container that a command can be run in. */
export interface ExecTarget {
  readonly id: string;
  readonly design: ContainerDesign;
  readonly spec: ContainerSpec;
  readonly launched: RunProcess;
  readonly cgroups: ExecCgroups | undefined;
  /** Why a command cannot be run in it any more; undefined while one can. */
  refusal(): Error | undefined;
}

/**
 * Runs a command in a running container. When it settles, every process it started is gone.
 *
 * @param catchUp - for one that another process may have started again meanwhile
 */
export function exec(
  argv: readonly string[],
  options: ExecOptions,
  target: () => ExecTarget,
  catchUp?: () => Promise<void>,
): ContainerProcess<string | Buffer> {
  return beginProcess({ ...options, command: argv }, async (streams) => {
    if (catchUp) await catchUp();
    const { id, cgroups, spec, refusal } = target();
    await ownTurn(id);
    let cgroup: Cgroup | undefined;
    try {
      const user = isSameUser(options) ? undefined : await findUser(options, target());
      cgroup = await cgroups?.take(spec);
      // It may have ended meanwhile: asked again, it says so.
      return start(argv, options, target(), { cgroup, user, streams });
    } catch (error) {
      if (cgroup) await cgroups!.remove(cgroup);
      throw refusal() ?? error;
    }
  });
}

function start(
  argv: readonly string[],
  options: ExecOptions,
  target: ExecTarget,
  { cgroup, user, streams }: { cgroup: Cgroup | undefined; user: ResolvedUser | undefined; streams: StandardStreams },
): Running {
  using owner = new ResourceStack();
  const { design, launched: container } = target;
  const join = cgroup && owner.use(cgroup.joinPlan());
  const handedOver = Object.fromEntries([...container.namespaces].map(([kind, { fd }]) => [kind, fd]));
  const fds: Record<string, number> = {
    target: container.pidfd!.fd,
    ...handedOver,
    ...(join?.cloneInto && { cgroupDirectory: join.cloneInto.fd }),
  };
  // Its name is all by which one exec of a command differs from the next.
  const name = cgroup ? basename(cgroup.name) : '';
  const makeSteps = () => planOf(argv, options, target, { cgroup, join, fds, user });
  const fdNames = Object.keys(fds);
  const key = cgroup && join && keyOf(argv, options, fdNames, [...join.procs, ...cgroup.paths], name);
  const steps = key === undefined ? makeSteps() : recentOf(design).stepsOf(key, name, makeSteps, fdNames);
  const launched = launch({ steps, stdio: streams, fds, variables: cgroup ? [name] : [] });
  connectTerminal(launched, streams);
  // In a cgroup they are found there.
  if (!cgroup) launched.payloadEnded.then(() => endAdopted(launched));
  return {
    launched,
    warnings: design.warnings,
    refusal: target.refusal,
    async finish(exit) {
      // Whatever it left behind, also what has double-forked.
      await cgroup?.kill();
      try {
        return await readAccounts(exit, cgroup);
      } finally {
        if (cgroup) target.cgroups!.giveBack(cgroup, target.spec);
      }
    },
  };
}

function planOf(
  argv: readonly string[],
  options: ExecOptions,
  { design, spec }: ExecTarget,
  {
    cgroup,
    join,
    fds,
    user,
  }: {
    cgroup: Cgroup | undefined;
    join: JoinPlan | undefined;
    fds: Record<string, number>;
    user: ResolvedUser | undefined;
  },
): readonly Step[] {
  const own = Object.fromEntries(
    design.env.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  );
  const env: Record<string, string> = { ...own, ...(user && { HOME: user.home }), ...options.env };
  const kinds = [
    ...(design.namespaces.idMaps ? (['user'] as const) : []),
    ...design.namespaces.created,
    ...design.namespaces.joined.map(({ kind }) => kind).filter((kind) => kind !== 'user'),
  ];
  return execPlan(
    {
      ...design,
      sessionKeyring: sessionKeyringStep(design),
      namespaces: kinds.map((kind) => ({
        kind,
        fd: fds[kind] === undefined ? 'target' : kind,
        foreign: design.namespaces.idMaps !== undefined && isForeign(kind, design.namespaces.joined),
      })),
      idMaps: design.namespaces.idMaps,
      mountsOfOthers: design.namespaces.joined.some(({ kind }) => kind === 'mnt'),
      argv,
      candidates: candidatesFor(argv[0]!, env.PATH ?? ''),
      env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
      user: user ?? design.user,
      umask: options.umask ?? design.umask,
      cwd: options.cwd ?? design.cwd,
      cgroupProcs: join?.procs ?? [],
      cgroupFd: join?.cloneInto !== undefined,
      adopt: cgroup === undefined,
      timeoutMs: options.timeout,
      leftovers: { files: [], cgroups: cgroup?.paths ?? [], parents: [] },
      nullFds: options.stdin === 'null' && !options.tty ? [0] : [],
      pipeFds: options.tty ? [] : options.stdin === 'null' ? [1, 2] : [0, 1, 2],
      terminal: options.tty ? firstTerminal(spec) : undefined,
    },
    readHost(),
  );
}

const isSameUser = ({ user, groups }: ExecOptions): boolean => user === undefined && groups === undefined;

/** Who a command is to run as, by the files of the container as they are now. */
async function findUser({ user, groups }: ExecOptions, { launched, design, spec }: ExecTarget): Promise<ResolvedUser> {
  using root = await openContainerRoot({ launched, design });
  return resolveUser(user ?? spec.user, groups, [`/proc/self/fd/${root.fd}`]);
}

/** Does another user namespace than the container's own it? That of mounts is never another. */
function isForeign(kind: NamespaceKind, joined: NamespaceDesign['joined']): boolean {
  return kind !== 'user' && kind !== 'mnt' && joined.some((one) => one.kind === kind && !one.isOwned);
}

const recent = new WeakMap<ContainerDesign, RecentCommands>();

/** What was run in a container so far. */
function recentOf(design: ContainerDesign): RecentCommands {
  const known = recent.get(design) ?? new RecentCommands();
  recent.set(design, known);
  return known;
}

/** Equal texts mean equal steps in one container, but for the name of the cgroup; undefined where files have a say, too. */
function keyOf(
  argv: readonly string[],
  options: ExecOptions,
  fds: readonly string[],
  cgroupPaths: readonly string[],
  name: string,
): string | undefined {
  if (!isSameUser(options)) return undefined;
  const { env, cwd, stdin, timeout, umask, tty } = options;
  const paths = cgroupPaths.map((path) => path.replaceAll(name, '\0'));
  return JSON.stringify([argv, env, cwd, stdin === 'null', String(timeout), umask, tty, fds, paths]);
}
