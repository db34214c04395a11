import { setTimeout as delay } from 'node:timers/promises';
import { Cgroup, CgroupGoneError } from '@ns/cgroups';
import {
  Adopted,
  Deferred,
  type Exit,
  type NamespaceKind,
  namespaceFlags,
  readExit,
  readTimes,
  StandardStreams,
} from '@ns/launch';
import {
  AsyncResourceStack,
  isAlive,
  NsError,
  O,
  type OwnedFd,
  open,
  pidfdOpen,
  pidfdSendSignal,
  ResourceStack,
} from '@ns/libc';
import { IdLease } from '@ns/namespaces';
import { endAttached } from './attached-stream.ts';
import { drawDesign } from './blueprint.ts';
import { isFrozen, payloadName, readAccounts } from './container-cgroup.ts';
import type { Ending } from './container-process.ts';
import { type ContainerState, type ContainerStatus, readState } from './container-state.ts';
import { readJournal } from './detachment.ts';
import { ExecCgroups } from './exec-cgroups.ts';
import { LogFiles, readLog, type StoredOutput } from './log-files.ts';
import { type LogLocation, locateLog } from './log-location.ts';
import { showingNamespaces, withNamespacesOf } from './namespaces-of-others.ts';
import { endUserNetwork } from './network/end-user-network.ts';
import { leaveNetworksOf } from './network/prune-networks.ts';
import type { ContainerDesign } from './plan/container-plan.ts';
import { isSame } from './process-identity.ts';
import { descendantsOf } from './process-list.ts';
import type { Result } from './result.ts';
import type { RunHandle, RunProcess } from './run-handle.ts';
import { containerDirectory, stateDirectory } from './state-root.ts';

/** So long after the end of its program a monitor has been stopped, or is not the one of that program. */
const STOPPED_MS = 5_000;
/** So long who made a container may take to write down how it ended. */
const MAKER_MS = 2_000;

/**
 * A run that another process began, or this one in an earlier life: known from its state directory, its processes held by
 * pidfds. Everything it can be asked is asked of the kernel and of files; there is nobody else to ask.
 */
export class AdoptedRun implements RunHandle {
  readonly launched: RunProcess;
  readonly plan = undefined;
  readonly streams: StandardStreams;
  readonly cgroup: Cgroup | undefined;
  readonly execCgroups: ExecCgroups | undefined;
  readonly result: Promise<Result>;
  readonly ended: Promise<void>;
  readonly #isOver = new Deferred<void>();
  #isKilled = false;
  readonly #state: ContainerState;
  readonly ids: IdLease | undefined;
  readonly #payload: Cgroup | undefined;
  readonly #process: Adopted | undefined;
  readonly #door: OwnedFd | undefined;
  readonly #namespaces: ReadonlyMap<NamespaceKind, OwnedFd>;
  readonly #held = new AsyncResourceStack();

  private constructor(
    state: ContainerState,
    parts: {
      process: Adopted | undefined;
      cgroup: Cgroup | undefined;
      payload: Cgroup | undefined;
      streams: StandardStreams;
      location: LogLocation | undefined;
      directory: string;
      maxOutputBytes: number;
    },
  ) {
    const { process, cgroup, payload, streams, location, directory, maxOutputBytes } = parts;
    this.#state = state;
    this.#process = process;
    this.#door = process && openDoor(state);
    this.#namespaces = process && mayHaveOwnIds(state) ? openNamespaces(process) : noNamespaces;
    this.launched = process ? this.#ofAnother(process) : gone;
    this.cgroup = cgroup;
    this.execCgroups = cgroup && new ExecCgroups(cgroup, { keepsSpare: false });
    this.streams = streams;
    this.ids = leaseOf(state);
    this.#payload = payload;
    this.result = this.#supervise(process, directory, (stream) =>
      location ? readLog(location, stream, maxOutputBytes) : noLog,
    );
    this.ended = this.#isOver.promise;
    const isOver = () => this.#isOver.resolve();
    this.result.then(isOver, isOver);
  }

  /** Takes hold of a container as it is now. Does not keep the event loop alive. */
  static async adopt(state: ContainerState, maxOutputBytes: number): Promise<AdoptedRun> {
    const { id, monitor, init } = state;
    // Between the end of the program and that of the monitor, which writes it down, there are microseconds.
    const begin = performance.now();
    while (monitor && isAlive(monitor) && !(init && isAlive(init)) && performance.now() - begin < STOPPED_MS)
      await delay(1);
    const directory = containerDirectory(id);
    const process =
      monitor &&
      init &&
      Adopted.open({
        monitorPid: monitor.pid,
        pid: init.pid,
        verify: () => isAlive(monitor) && isAlive(init),
        readJournal: () => readJournal(directory),
      });
    using rollback = new ResourceStack();
    if (process) rollback.use(process).unref();
    const location = state.detachable ? locateLog(id, state.spec) : undefined;
    const streams = location ? follow(location) : noStreams();
    rollback.defer(() => streams.destroy());
    const cgroup = await openCgroup(state.cgroup);
    rollback.defer(() => cgroup?.close());
    const payload = cgroup && (await openCgroup(`${cgroup.name}/${payloadName}`));
    rollback.defer(() => payload?.close());
    const run = new AdoptedRun(state, { process, cgroup, payload, streams, location, directory, maxOutputBytes });
    rollback.release();
    return run;
  }

  get design(): ContainerDesign {
    const { id, spec } = this.#state;
    const { pid } = this.launched;
    // Whom it shares namespaces with may have ended; it has them all the same.
    const member = pid === undefined ? undefined : showingNamespaces(pid);
    return drawDesign(id, withNamespacesOf(member, spec), { ids: this.ids });
  }

  /** Where the container stands, as the kernel sees it. */
  get status(): ContainerStatus {
    if (this.launched.pid === undefined) return 'stopped';
    return isFrozen(this.cgroup) ? 'paused' : this.#state.status === 'created' ? 'created' : 'running';
  }

  hold(resource: AsyncDisposable): void {
    this.#held.use(resource);
  }

  go(): never {
    throw new NsError(
      'ERR_NS_CONTAINER_NOT_OURS',
      'this container was made by another process, which has to start it',
      {
        hint: 'Start it there; once it runs, it can be managed from here',
      },
    );
  }

  letGo(): void {
    this.#closeProcess();
    this.#payload?.close();
    this.cgroup?.close();
    this.streams.destroy();
  }

  async #supervise(
    process: Adopted | undefined,
    directory: string,
    readOutput: (stream: 'stdout' | 'stderr') => StoredOutput,
  ): Promise<Result> {
    const exit = process ? await process.exited : readExit(readJournal(directory));
    const isOwnersAlone = !this.#state.detachable && isAlive(this.#state.owner);
    const durationMs = this.#duration(directory, process !== undefined);
    const { oom, usage } = await this.#lastAccounts(exit);
    await this.#held[Symbol.asyncDispose]();
    // What belongs to a maker that is still there, he clears up.
    if (this.#state.detachable) {
      // What is in the way is said by prune(), which finds it again.
      await leaveNetworksOf(this.#state.id).catch(() => {});
      endUserNetwork(this.#state);
      await this.cgroup?.[Symbol.asyncDispose]();
      await this.ids?.[Symbol.asyncDispose]();
    } else this.cgroup?.close();
    this.#closeProcess();
    endAttached(this.streams);
    this.streams.drain();
    if (this.streams instanceof LogFiles) await this.streams.ended();
    const [stdout, stderr] = [readOutput('stdout'), readOutput('stderr')];
    this.#isOver.resolve();
    // Without a journal: with its maker it was killed, and how it ended while he lived he alone knows.
    const signal = isOwnersAlone && !this.#isKilled ? null : exit.signal;
    return {
      exitCode: exit.exitCode,
      signal,
      reason: exit.timedOut ? 'timeout' : oom ? 'oom' : signal ? 'signal' : 'exit',
      usage,
      durationMs,
      warnings: [],
      // A state that cannot be read tells nothing.
      ...(await this.#endingByMaker().catch(() => undefined)),
      stdout: stdout.bytes.toString('utf8'),
      stderr: stderr.bytes.toString('utf8'),
      truncated: stdout.truncated || stderr.truncated || exit.outputLost,
    };
  }

  /** What its maker has written down of this run, or writes soon: he hears of the end when we do. */
  async #endingByMaker(): Promise<ContainerState['ending']> {
    const { id, owner, init, ended, ending } = this.#state;
    const first = init ?? ended;
    if (!first) return ending;
    for (const begin = performance.now(); ; await delay(5)) {
      const mayWrite = isAlive(owner) && performance.now() - begin < MAKER_MS;
      const now = readState(id);
      if (now?.ended && isSame(now.ended, first)) return now.ending;
      if (!now || !mayWrite) return undefined;
    }
  }

  /** @param seen - it has ended just now */
  #duration(directory: string, seen: boolean): number {
    const { begunMs = Date.parse(this.#state.createdAt), endedMs } = readTimes(readJournal(directory));
    // When one ended whose monitor was killed, too, nobody can say.
    return (endedMs ?? (seen ? Date.now() : begunMs)) - begunMs;
  }

  #ofAnother(adopted: Adopted): RunProcess {
    return {
      monitorPid: adopted.monitorPid,
      pid: adopted.pid,
      pidfd: this.#door ?? adopted.pidfd,
      namespaces: this.#namespaces,
      executed: Promise.resolve(),
      signal: (signal) => adopted.signal(signal),
      kill: () => {
        const isKilled = adopted.kill();
        this.#isKilled ||= isKilled;
        return isKilled;
      },
      ref: () => adopted.ref(),
      unref: () => adopted.unref(),
    };
  }

  #closeProcess(): void {
    this.#process?.[Symbol.dispose]();
    this.#door?.close();
    for (const fd of this.#namespaces.values()) fd.close();
  }

  async #lastAccounts(exit: Exit): Promise<Ending> {
    try {
      return await readAccounts(exit, this.#payload);
    } finally {
      this.#payload?.close();
    }
  }
}

/**
 * What an ordinary user enters a container by. Its init refuses ptrace, and was born with the user namespace of the host;
 * the program has only the container's, which belongs to who made it.
 *
 * @returns undefined where the init itself will do
 */
function openDoor({ init, spec }: ContainerState): OwnedFd | undefined {
  const [, program] = spec.init === false || process.geteuid!() === 0 ? [] : descendantsOf(init!.pid);
  if (program === undefined) return undefined;
  try {
    const pidfd = pidfdOpen(program);
    if (descendantsOf(init!.pid).includes(program)) return pidfd;
    pidfd.close();
  } catch {
    // The container ends; exec will say so.
  }
  return undefined;
}

/** Is it in a user namespace other than the host's? */
function mayHaveOwnIds({ spec: { idMap, namespaces } }: ContainerState): boolean {
  return idMap !== undefined || namespaces?.user !== undefined;
}

/**
 * What root enters a container with a user namespace by. By a pidfd it could only enter the first of them: what is in the
 * user namespace then may not trace the init, whose memory is the host's.
 */
function openNamespaces({ pid, pidfd }: Adopted): ReadonlyMap<NamespaceKind, OwnedFd> {
  if (process.geteuid!() !== 0) return noNamespaces;
  using rollback = new ResourceStack();
  try {
    const opened = new Map(kinds.map((kind) => [kind, rollback.use(open(`/proc/${pid}/ns/${kind}`, O.RDONLY))]));
    // If it has ended, another process may have its pid.
    if (!pidfdSendSignal(pidfd.fd, 0)) return noNamespaces;
    rollback.release();
    return opened;
  } catch {
    // It ends; exec will say so.
    return noNamespaces;
  }
}

const kinds = Object.keys(namespaceFlags) as NamespaceKind[];

// A pidfd is enough to join them all.
const noNamespaces: ReadonlyMap<NamespaceKind, OwnedFd> = new Map();

/** Of a container that has ended. */
const gone: RunProcess = {
  monitorPid: 0,
  pid: undefined,
  pidfd: undefined,
  namespaces: noNamespaces,
  executed: Promise.resolve(),
  signal: () => false,
  kill: () => false,
  ref: () => {},
  unref: () => {},
};

/** What is written from now on; what was before, the log has. */
function follow(location: LogLocation): LogFiles {
  const streams = LogFiles.follow(location);
  // Read whether or not somebody listens, so that they end.
  for (const stream of [streams.stdout, streams.stderr]) stream.resume();
  return streams;
}

const noLog: StoredOutput = { bytes: Buffer.alloc(0), truncated: false };

/** The output of a container that cannot be detached goes to its maker alone. */
function noStreams(): StandardStreams {
  const streams = new StandardStreams(['null', 'null', 'null']);
  streams.closeInherited();
  return streams;
}

/** Two who look after one container both clear up: the second finds nothing. */
async function openCgroup(name: string | undefined): Promise<Cgroup | undefined> {
  if (name === undefined) return undefined;
  try {
    return await Cgroup.open(name);
  } catch (error) {
    if (error instanceof CgroupGoneError) return undefined;
    throw error;
  }
}

function leaseOf({ id, ids, owner }: ContainerState): IdLease | undefined {
  return ids && new IdLease(stateDirectory('ids'), id, { ...ids, owner }, 10_000);
}
