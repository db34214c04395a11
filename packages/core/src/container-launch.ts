import { dirname, join } from 'node:path';
import type { Cgroup, JoinPlan } from '@ns/cgroups';
import { type FdLayout, type Launched, type Leftovers, launch, type StandardStreams, type Step } from '@ns/launch';
import { type OwnedFd, ResourceStack, type SyscallError } from '@ns/libc';
import type { IdLease } from '@ns/namespaces';
import { type NotifierOptions, type SeccompHandlers, SeccompNotifier } from '@ns/seccomp';
import { viewCgroup } from './cgroup-view.ts';
import type { Restoration } from './checkpoint/restoration.ts';
import { nameLink } from './container-names.ts';
import { draftPath } from './container-state.ts';
import { type DesignContext, designContainer } from './design.ts';
import { readHost } from './host.ts';
import type { OpenedWrites } from './kept-writes.ts';
import { LogFiles } from './log-files.ts';
import { locateLog, logFilesOf } from './log-location.ts';
import { sharesPids } from './namespaces.ts';
import type { ContainerNetwork } from './network/container-network.ts';
import type { UserContainerNetwork } from './network/user-container-network.ts';
import { type ContainerDesign, containerPlan } from './plan/container-plan.ts';
import type { PreparedMounts } from './prepare-mounts.ts';
import { identifySelf } from './process-identity.ts';
import type { Scratch } from './scratch.ts';
import { containerDirectory } from './state-root.ts';
import { TerminalStreams } from './terminal-streams.ts';
import type { ContainerSpec } from './types.ts';

/** What a start depends on besides the specification. */
export interface StartContext {
  readonly id: string;
  readonly streams: StandardStreams;
  readonly cgroup: Cgroup | undefined;
  readonly ids: IdLease | undefined;
  readonly mounts?: PreparedMounts | undefined;
  readonly kept?: OpenedWrites | undefined;
  readonly network?: ContainerNetwork | UserContainerNetwork | undefined;
  /** The cgroup that holds the limits, when `cgroup` is inside another. */
  readonly outerCgroup?: Cgroup | undefined;
  /** Gets the end of the program, for when we are gone. */
  readonly journal?: OwnedFd | undefined;
  /** Wait for the word to start. */
  readonly park: boolean;
  /** Wait just before the program for the caller to say which. */
  readonly programLater?: boolean;
  /** A checkpoint that it begins with. */
  readonly restoration?: Restoration | undefined;
  /** Scratch file system of the start before. */
  readonly scratch?: Scratch | undefined;
  /** How calls are served that no handler of the specification is for. */
  readonly notifier?: NotifierOptions | undefined;
  /** Give the scratch file system to the caller. */
  readonly keepScratch: boolean;
}

/** What was done for a start. */
export interface CarriedOutPlan {
  readonly steps: readonly Step[];
  readonly layout: FdLayout;
}

/** Starts the first process of a container. */
export function launchContainer(
  spec: ContainerSpec,
  context: StartContext,
): { launched: Launched; design: ContainerDesign; plan: CarriedOutPlan } {
  using owner = new ResourceStack();
  const fds: Record<string, number> = {};
  const join = context.cgroup && owner.use(context.cgroup.joinPlan());
  if (join?.cloneInto) fds.cgroup = join.cloneInto.fd;
  if (context.scratch) fds.scratch = context.scratch.fd.fd;
  if (context.journal) fds.journal = context.journal.fd;
  if (context.network?.lifeline) fds.lifeline = context.network.lifeline.fd;
  const logFiles = context.streams instanceof LogFiles ? context.streams : undefined;
  const forCriu = context.restoration?.inherit(context.streams, owner);
  Object.assign(fds, logFiles?.fds, forCriu?.named);
  const host = readHost();
  const design = designContainer(spec, designContextOf(spec, context, { join, logFiles, owner, fds }), host);
  const steps = context.restoration?.plan(design, host) ?? containerPlan(design, host);
  const variables = [context.id, context.id.slice(0, 12)];
  const launched = launch({
    steps,
    stdio: context.streams,
    extraFds: forCriu?.extraFds ?? [],
    fds,
    variables,
    unmountLate: mayUnmountLate(context, design),
  });
  const { onSyscall } = spec;
  connectTerminal(launched, context.streams);
  if (onSyscall || context.notifier) serveSystemCalls(launched, onSyscall ?? {}, context.notifier);
  return {
    launched,
    design,
    plan: { steps, layout: { extra: forCriu?.extraFds.length ?? 0, named: Object.keys(fds) } },
  };
}

function designContextOf(
  spec: ContainerSpec,
  context: StartContext,
  {
    join,
    logFiles,
    owner,
    fds,
  }: Pick<DesignContext, 'owner' | 'fds'> & { join: JoinPlan | undefined; logFiles: LogFiles | undefined },
): DesignContext {
  const { scratch, cgroup, outerCgroup = cgroup } = context;
  const noInput = spec.stdin === 'null';
  return {
    id: context.id,
    park: context.park,
    programLater: context.programLater ?? false,
    scratch: { reuse: scratch !== undefined, covered: scratch?.covered ?? false, handOver: context.keepScratch },
    nullFds: spec.tty ? [0, 1, 2] : noInput ? [0] : [],
    pipeFds: spec.tty ? [] : noInput ? [1, 2] : [0, 1, 2],
    cgroup:
      outerCgroup &&
      join &&
      viewCgroup(spec, outerCgroup, { procs: join.procs, cloneInto: join.cloneInto !== undefined }),
    ids: context.ids,
    mounts: context.mounts,
    kept: context.kept,
    network: context.network,
    leftovers: leftoversOf(context, spec),
    journal: context.journal !== undefined,
    loadProfiles: true,
    output: logFiles?.plan,
    owner,
    fds,
  };
}

/** Does nobody but the container know what is mounted in it? Then it does not matter when it is taken apart. */
function mayUnmountLate({ mounts, keepScratch }: StartContext, { root, namespaces }: ContainerDesign): boolean {
  const { writable } = root;
  const ownWrites = typeof writable === 'string' ? writable !== 'direct' : 'tmpfs' in writable;
  return !mounts && !keepScratch && ownWrites && namespaces.created.includes('mnt');
}

/** Connects the terminal of a process with its streams, when both have one: its program begins then. */
export function connectTerminal(launched: Launched, streams: StandardStreams): void {
  if (!(streams instanceof TerminalStreams)) return;
  launched.terminal
    .then((fd) => {
      streams.connect(fd);
      launched.go();
    })
    .catch((error: SyscallError) => {
      streams.abandon();
      launched.giveUp(error);
    });
}

function serveSystemCalls(launched: Launched, handlers: SeccompHandlers, options?: NotifierOptions): void {
  launched.seccompListener.then(
    (listener) => {
      const notifier = SeccompNotifier.listen(listener, handlers, options);
      // The process itself keeps the event loop alive, as long as it runs.
      notifier.unref();
      notifier.on('handlerError', (error, call) => {
        process.emitWarning(`the handler of ${call.syscall} failed, the call got EPERM: ${String(error)}`, {
          code: 'NS_SYSCALL_HANDLER',
        });
      });
    },
    // Without a program there is no listener, and without a listener no program: why not, the result tells.
    (error: SyscallError) => launched.giveUp(error),
  );
}

/** What is on the machine besides processes, and would stay if this process died now. */
export function leftoversOf(
  {
    id,
    cgroup,
    outerCgroup,
    ids,
    mounts,
  }: Pick<StartContext, 'id'> &
    Partial<
      Pick<StartContext, 'ids' | 'mounts'> &
        Record<'cgroup' | 'outerCgroup', Pick<Cgroup, 'host' | 'possiblePaths'> | undefined>
    >,
  spec: ContainerSpec,
): Leftovers {
  const { name, log } = spec;
  const container = outerCgroup ?? cgroup;
  // An update may take it into more trees.
  const cgroups = container?.possiblePaths ?? [];
  const state = containerDirectory(id);
  return {
    files: [
      join(state, 'state.json'),
      draftPath(id),
      ...(ids ? [ids.path] : []),
      ...(log && log.directory === undefined ? logFilesOf(locateLog(id, spec)!) : []),
      ...(mounts?.files ?? []),
    ],
    ...(name !== undefined && { links: [nameLink(name, id, identifySelf())] }),
    cgroups,
    ...(container && sharesPids(spec) && { killOneByOne: !container.host.unified, survivors: cgroup!.possiblePaths }),
    parents: [...cgroups.map(dirname), state, dirname(state)],
  };
}
