import type { Duplex, Readable, Writable } from 'node:stream';
import type { Stats } from '@ns/cgroups';
import type { Explanation } from '@ns/launch';
import { ownTurn } from '@ns/libc';
import type { Endpoint } from '@ns/netns';
import type { AppliedChanges, ApplyChangesOptions, Change, CopiedTree, StoredLayer } from '@ns/overlayfs';
import { AttachedStream } from './attached-stream.ts';
import { explainPlan, explainSpec } from './blueprint.ts';
import type { CheckpointOptions, RestoreOptions } from './checkpoint/options.ts';
import {
  applyContainer,
  commitContainer,
  diffContainer,
  discardContainer,
  streamContainerDiff,
} from './container-changes.ts';
import {
  killContainer,
  pauseContainer,
  removeContainer,
  restartContainer,
  resumeContainer,
  type StopOptions,
  startContainer,
  stopContainer,
} from './container-control.ts';
import {
  type CopyOptions,
  copyIntoContainer,
  copyOutOfContainer,
  type ExportOptions,
  exportContainer,
} from './container-copies.ts';
import type { ContainerEvent } from './container-event.ts';
import { type ContainerFilter, type ContainerInfo, listContainers } from './container-info.ts';
import { ContainerLife } from './container-life.ts';
import type { FirstFiles } from './container-overlays.ts';
import { type ContainerProcess, refusedProcess } from './container-process.ts';
import { processIds, statsEvery, statsOf } from './container-processes.ts';
import { type ContainerState, type ContainerStatus, findState } from './container-state.ts';
import { updateContainer } from './container-update.ts';
import type { ContainerWarning } from './container-warning.ts';
import { newId } from './design.ts';
import { checkDetachable, isDetachable, notDetachable } from './detachment.ts';
import { checkLaterMount } from './device-access.ts';
import { ContainerStateError } from './errors.ts';
import { type ExecOptions, exec } from './exec.ts';
import { specToFork } from './fork-spec.ts';
import type { HealthState } from './health.ts';
import { openContainerRoot } from './in-mount-namespace.ts';
import type { WriteLimit } from './kept-writes.ts';
import type { LogEntry, LogOptions } from './log-buffer.ts';
import type { MountSpec } from './mount-spec.ts';
import type { ContainerPort } from './network/live-networks.ts';
import {
  interruptibly,
  interruptiblyEach,
  interruptiblyRead,
  type Patience,
  patiently,
  patientlyInTurn,
  patientlyMade,
  splitPatience,
} from './patience.ts';
import type { ContainerUpdate, PlannedChange } from './planned-changes.ts';
import { describeProcesses, type ProcessInfo } from './process-list.ts';
import { readCall } from './read-call.ts';
import { renameContainer } from './rename-container.ts';
import type { Result } from './result.ts';
import { RunningMounts } from './running-mounts.ts';
import { assertOwnMounts } from './shared-mounts.ts';
import { type TerminalSize, TerminalStreams } from './terminal-streams.ts';
import { traceOnly } from './tracing.ts';
import type { AsBytes, ContainerSpec } from './types.ts';
import { userNamesAt } from './user.ts';
import { checkCall, checkListener } from './validate-calls.ts';
import { validateExec, validateMount, validateSpec } from './validate-spec.ts';

/**
 * A container that is made, started and looked after step by step. {@link run} is the short way for one command.
 *
 * Takes Linux 5.12, and root or, for an ordinary user, user namespaces. {@link probe} tells what this machine lacks.
 *
 * @example
 * ```ts
 * await using c = await Container.create({ command: ['sleep', 'infinity'], limits: { memory: '64MiB' } });
 * await c.start();
 * const { stdout } = await c.exec('ps', ['aux']);
 * ```
 */
export class Container implements AsyncDisposable {
  /** 64 hexadecimal digits. */
  readonly id: string;
  /** As its specification has them. */
  readonly labels: Readonly<Record<string, string>>;
  /** When it was made. */
  readonly createdAt: Date;
  readonly #life: ContainerLife;
  readonly #mounts = new RunningMounts();
  #detached = false;

  private constructor(spec: ContainerSpec, found?: ContainerState) {
    this.#life = new ContainerLife(spec, (argv, options) => this.exec(argv, options), found);
    this.id = this.#life.id;
    this.createdAt = this.#life.createdAt;
    this.labels = spec.labels ?? {};
  }

  /**
   * Makes a container and prepares everything; its program is not started yet. Until then it keeps the event loop alive only with
   * `lifetime: { dieWithParent: false }`, or while something of it is waited for.
   *
   * @throws SpecError `ERR_NS_INVALID_SPEC`
   * @throws NsError `ERR_NS_CONTAINER_EXISTS`: the name is taken
   * @throws NsError `ERR_NS_ROOTFS`, `ERR_NS_MOUNT_SOURCE`, `ERR_NS_DEVICE`, `ERR_NS_NETWORK_NOT_FOUND`,
   * `ERR_NS_CONTAINER_NOT_FOUND`: something that the specification names is not there
   * @throws NsError `ERR_NS_PORT_IN_USE`, `ERR_NS_ADDRESS_IN_USE`: or is taken
   * @throws NsError `ERR_NS_IN_USE`: another container writes where this one shall keep its writes or its log
   * @throws UnavailableError `ERR_NS_UNAVAILABLE`: this machine or user lacks what is asked for
   * @throws ContainerStartError `ERR_NS_CONTAINER_START`: a step of the setup failed; nothing is left behind
   */
  static async create(spec: ContainerSpec, options: Patience = {}): Promise<Container> {
    const checked = validateSpec(spec);
    checkCall('patience', options);
    checkDetachable(checked);
    const container = new Container(checked);
    const remove = () => container.remove({ force: true });
    await patientlyMade('making a container', options, (unwanted) => container.#life.create({ unwanted }), remove);
    return container;
  }

  /**
   * Makes a container of a checkpoint, in this process or another, any number of times: its processes go on where they
   * were, as the same users with the same privileges and limits, in a container with an id of its own. What they write
   * from now on comes out here. It settles when they run.
   *
   * Needs root and CRIU of the version that made the checkpoint, or a later one; and below the container's own files the
   * same ones as then.
   *
   * @param options.directory - the checkpoint's; it stays as it is
   * @param options.name - default the one it had
   * @throws UnavailableError for an ordinary user, without CRIU, or where `criu check` fails
   * @throws CheckpointError `ERR_NS_RESTORE_FAILED`: CRIU gave up; nothing is left behind
   * @throws NsError `ERR_NS_CHECKPOINT_NOT_FOUND`, `ERR_NS_CHECKPOINT_UNSAFE`, `ERR_NS_CONTAINER_EXISTS`,
   * `ERR_NS_IN_USE`: its `log.directory` is another's
   *
   * @example
   * ```ts
   * await using c = await Container.restore({ directory: '/var/lib/checkpoints/warm' });
   * const { exitCode } = await c.wait();
   * ```
   */
  static async restore(options: RestoreOptions): Promise<Container> {
    const { directory, name, ...patience } = checkCall('restore', options);
    const restore = async () => {
      const { openCheckpoint, restoreContainer } = await loadCheckpoints();
      using restoration = await openCheckpoint(directory);
      const container = new Container(validateSpec({ ...restoration.spec, ...(name !== undefined && { name }) }));
      await restoreContainer(container.#life, restoration);
      return container;
    };
    return patientlyMade('restoring a container', patience, restore, (container) => container.remove({ force: true }));
  }

  /**
   * Finds a container by its id, the beginning of it, or its name: one that was detached, or that another process has.
   * It can be asked and told everything but to start; its output is there when it was made with
   * `lifetime: { dieWithParent: false }`. The object does not keep the event loop alive unless something waits, and
   * disposing of it leaves the container alone. When its maker starts it again, `wait()` tells of the run before; what is done
   * with it later is done with the one there is by then.
   *
   * @throws NsError `ERR_NS_CONTAINER_NOT_FOUND`
   */
  static async get(idOrName: string, patience: Patience = {}): Promise<Container> {
    checkCall('reference', { idOrName });
    const letGo = (container: Container) => container[Symbol.asyncDispose]();
    const find = async () => {
      await ownTurn('finding a container');
      const state = findState(idOrName);
      const container = new Container(state.spec, state);
      await container.#life.adopt(state);
      return container;
    };
    return patientlyMade('finding a container', checkCall('patience', patience), find, letGo);
  }

  /**
   * Containers of this state root, whoever made them.
   *
   * @param patience - may as well stand beside the filter: `list({ labels, signal })`
   */
  static async list(filter: ContainerFilter & Patience = {}, patience: Patience = {}): Promise<ContainerInfo[]> {
    const { patience: beside, rest } = splitPatience(filter);
    const limits = checkCall('patience', { ...beside, ...checkCall('patience', patience) });
    checkCall('list', rest);
    return patientlyInTurn('listing containers', limits, () => listContainers(rest));
  }

  /** What a container with this specification would be, without making it. Needs no privileges. */
  static explain(spec: ContainerSpec): Explanation {
    return explainSpec(newId(), validateSpec(spec));
  }

  /** What {@link rename} or its specification called it. */
  get name(): string | undefined {
    return this.#life.spec.name;
  }

  /** As the kernel and the state on disk have it at this moment, whoever changed it. */
  get status(): ContainerStatus {
    return this.#life.status;
  }

  /** What the health checks have shown; undefined without `health` in the specification, or before the start. */
  get health(): HealthState | undefined {
    return this.#life.supervision.health;
  }

  /** Pid of the first process, in the caller's pid namespace; undefined when there is none. */
  get pid(): number | undefined {
    return this.#life.isAlive ? this.#life.run?.launched.pid : undefined;
  }

  /** Its published ports, with those the system chose. Of one that was found, as they were then. */
  get ports(): readonly ContainerPort[] {
    return this.#life.ports;
  }

  /** How what it writes below its root is bounded, and by which means; undefined when it is not. */
  get writeLimit(): WriteLimit | undefined {
    return this.#life.writeLimit;
  }

  /** Its networks by name, with its link and addresses in each. Of one that was found, as they were then. */
  get networks(): Record<string, Endpoint> {
    return Object.fromEntries(this.#life.places);
  }

  /** What was asked for, or is a default, and cannot be had on this machine. */
  get warnings(): readonly ContainerWarning[] {
    return this.#life.run?.design.warnings ?? [];
  }

  /**
   * The plan of this container: the steps, their system calls, and why. The one that was carried out for the present run,
   * or the last; of a container that somebody else has started, what its specification comes to.
   */
  explain(): Explanation {
    const { run, spec } = this.#life;
    return run?.plan ? explainPlan(run.plan, run.design) : explainSpec(this.id, spec);
  }

  /**
   * Lets the program begin; settles when it runs, or with `wait` when it is ready. A stopped container is started again with
   * the files it had.
   *
   * @throws ContainerStartError `ERR_NS_COMMAND_NOT_FOUND`, `ERR_NS_COMMAND_NOT_EXECUTABLE` with the exit code of a shell
   * @throws ContainerStateError `ERR_NS_CONTAINER_RUNNING`; `ERR_NS_CONTAINER_STOPPED`: somebody ended it meanwhile
   * @throws NsError `ERR_NS_IN_USE`: since its last run another container writes where it keeps its writes or its log
   * @throws WaitError `ERR_NS_WAIT_TIMEOUT`, `ERR_NS_WAIT_FAILED`: it is not ready; it may be running all the same
   */
  async start(patience: Patience = {}): Promise<void> {
    return this.#inTurn('the start', checkCall('patience', patience), () => startContainer(this.#life));
  }

  /**
   * How the program ended. Before or after the start, any number of times; after a restart, how that run ends. Of a found
   * container it is what its maker says; when he does not within two seconds and nobody else can, `exitCode` and `signal` are
   * both null.
   *
   * @throws NsError `ERR_NS_TIMEOUT`: it had not ended after `timeout` ms; it goes on
   */
  async wait(patience: Patience = {}): Promise<Result> {
    checkCall('patience', patience);
    const done = this.#life.lookOn();
    try {
      return await patiently('waiting for the end', patience, () => this.#life.endOf(this.#life.run!));
    } finally {
      done();
    }
  }

  /**
   * Runs a command inside, in the namespaces of the container and with its restrictions. When it settles, every process it
   * started is gone. A non-zero exit is a result; not found is 127, not executable 126. Before it begins it counts for
   * `limits.pids` as two processes, for a moment.
   *
   * @throws SpecError (as a rejection) `ERR_NS_INVALID_SPEC`: an option is wrong
   * @throws ContainerStateError (as a rejection) `ERR_NS_CONTAINER_NOT_RUNNING`, `ERR_NS_CONTAINER_PAUSED`
   * @throws ProcessFailedError (as a rejection) `ERR_NS_PROCESS_FAILED`: with `check`
   *
   * @example
   * ```ts
   * await using c = await Container.create({ command: ['sleep', '60'] });
   * await c.start();
   * const { stdout, usage } = await c.exec('id', ['-un'], { user: 'nobody', timeout: 1_000 });
   * ```
   */
  exec(
    command: string | readonly string[],
    args: readonly string[],
    options: ExecOptions & AsBytes,
  ): ContainerProcess<Buffer>;
  exec(command: string | readonly string[], args?: readonly string[], options?: ExecOptions): ContainerProcess;
  exec(command: string | readonly string[], options: ExecOptions & AsBytes): ContainerProcess<Buffer>;
  exec(command: string | readonly string[], options: ExecOptions): ContainerProcess;
  exec(
    command: string | readonly string[],
    args: readonly string[] | ExecOptions = [],
    options: ExecOptions = {},
  ): ContainerProcess<string | Buffer> {
    let argv: readonly string[];
    let checked: ExecOptions;
    try {
      const call = readCall(command, args, options);
      argv = call.argv;
      checked = validateExec(argv, call.options);
    } catch (error) {
      return refusedProcess(error);
    }
    return traceOnly('exec', { ...this.#life.trace, command: argv }, () =>
      exec(argv, checked, () => this.#life.execTarget(), this.#life.isFound ? () => this.#life.catchUp() : undefined),
    );
  }

  /**
   * Sends a signal to the program, SIGKILL by default as Docker does. After SIGKILL it settles when nothing is left, and what waits
   * for a restart by its policy is not started any more.
   *
   * @param options.all - to every process of the container
   * @param options.signal - with `timeout`: how long the caller waits; the signal is sent all the same
   * @throws ContainerStateError `ERR_NS_CONTAINER_NOT_RUNNING`
   * @throws SpecError `ERR_NS_INVALID_SPEC`: no such signal
   * @throws NsError `ERR_NS_TIMEOUT`, or the reason of `signal`: patience was lost
   */
  async kill(signal: NodeJS.Signals = 'SIGKILL', options: { all?: boolean } & Patience = {}): Promise<void> {
    checkCall('signal', { signal });
    const { all = false, ...patience } = checkCall('kill', options);
    return this.#inTurn('killing', patience, () => killContainer(this.#life, signal, { all }));
  }

  /**
   * Asks the program to end, and ends it after `options.timeout` ms. Idempotent.
   *
   * @param patience - who loses it is told so; the program is ended all the same
   * @throws NsError `ERR_NS_TIMEOUT`, or the reason of `signal`: patience was lost
   */
  async stop(options: StopOptions = {}, patience: Patience = {}): Promise<void> {
    checkCall('stop', options);
    return this.#inTurn('stopping', checkCall('patience', patience), () => stopContainer(this.#life, options));
  }

  /**
   * Stops and starts it again, with the files it had. Once begun it is carried through, also for who lost patience.
   *
   * @throws what {@link Container.start} throws
   * @throws NsError `ERR_NS_TIMEOUT`, or the reason of `signal`: patience was lost
   */
  async restart(options: StopOptions = {}, patience: Patience = {}): Promise<void> {
    checkCall('restart', options);
    return this.#inTurn('restarting', checkCall('patience', patience), () => restartContainer(this.#life, options));
  }

  /**
   * Holds every process still. Who loses patience may find it paused a moment later.
   *
   * @throws ContainerStateError `ERR_NS_CONTAINER_NOT_RUNNING`
   * @throws UnavailableError `ERR_NS_UNAVAILABLE`: an ordinary user without a delegated cgroup
   * @throws NsError `ERR_NS_TIMEOUT`, or the reason of `signal`: patience was lost
   */
  async pause(patience: Patience = {}): Promise<void> {
    return this.#inTurn('pausing', checkCall('patience', patience), () => pauseContainer(this.#life));
  }

  /**
   * Lets its processes go on. Who loses patience may find it running a moment later.
   *
   * @throws NsError `ERR_NS_TIMEOUT`, or the reason of `signal`: patience was lost
   */
  async resume(patience: Patience = {}): Promise<void> {
    return this.#inTurn('resuming', checkCall('patience', patience), () => resumeContainer(this.#life));
  }

  /**
   * Changes limits, egress policy, bandwidth or mounts of the running container. Limits and directions not named stay; a
   * policy is replaced, and connections that the new one forbids are cut: to addresses, and to all names when one was
   * taken out. What is refused changes nothing; limits and network that the kernel alone refuses may be half changed.
   *
   * @param options.dryRun - only say what would change, or throw what would be thrown, short of what the kernel alone refuses: a limit
   * that is below what is used
   * @param options.signal - with `timeout`: how long the caller waits; what was begun is carried through
   * @returns what changed
   * @throws UnavailableError `ERR_NS_UNAVAILABLE` for a limit that this machine cannot set
   * @throws NsError `ERR_NS_NO_EGRESS_POLICY`: it was made without one
   */
  async update(changes: ContainerUpdate, options: { dryRun?: boolean } & Patience = {}): Promise<PlannedChange[]> {
    checkCall('update', changes);
    const { dryRun = false, ...patience } = checkCall('updateOptions', options);
    return this.#inTurn('the update', patience, () => updateContainer(this.#life, this.#mounts, changes, { dryRun }));
  }

  /**
   * Gives it another name, by which its networks know it from now on: its neighbours find it, and by the name before no more.
   * Its aliases and host name stay.
   *
   * @throws NsError `ERR_NS_CONTAINER_EXISTS`: the name is taken
   * @throws ContainerStateError `ERR_NS_CONTAINER_REMOVED`
   */
  async rename(name: string): Promise<void> {
    checkCall('rename', { name });
    validateSpec({ ...this.#life.spec, name });
    await ownTurn(this.id);
    await renameContainer(this.#life, name);
  }

  /**
   * What it uses: once, or every `interval` ms until it ends or patience does, of which the iterator throws the reason.
   *
   * @throws ContainerStateError `ERR_NS_CONTAINER_NOT_RUNNING`
   * @throws UnavailableError `ERR_NS_UNAVAILABLE`: an ordinary user without a delegated cgroup
   * @throws NsError `ERR_NS_TIMEOUT`, or the reason of `signal`: patience was lost
   */
  stats(patience?: Patience): Promise<Stats>;
  stats(options: { interval: number } & Patience): AsyncIterable<Stats>;
  stats(options: { interval?: number } & Patience = {}): Promise<Stats> | AsyncIterable<Stats> {
    const { interval, ...patience } = options ?? {};
    if (interval === undefined) return this.#stats(options);
    checkCall('stats', options);
    return interruptiblyEach('reading stats', patience, (signal) =>
      this.#life.eachWhileLookingOn(statsEvery(this.#life, interval, signal)),
    );
  }

  async #stats(options: Patience): Promise<Stats> {
    return this.#inTurn('reading stats', checkCall('stats', options), () =>
      this.#life.during('read its stats', statsOf),
    );
  }

  /**
   * Its processes, as `ps` outside and inside would show them.
   *
   * @throws NsError `ERR_NS_TIMEOUT`, or the reason of `signal`: patience was lost
   */
  async processes(patience: Patience = {}): Promise<ProcessInfo[]> {
    return this.#inTurn('listing processes', checkCall('patience', patience), () => this.#processes());
  }

  async #processes(): Promise<ProcessInfo[]> {
    if (!this.#life.isAlive) return [];
    try {
      return await this.#life.during('list its processes', async (run) => {
        const pids = await processIds(run);
        // It may be about to end: then they are called by their numbers.
        using root = await openContainerRoot(run).catch(() => undefined);
        const ownIds = run.design.namespaces.idMaps !== undefined;
        return describeProcesses(pids, userNamesAt(run.launched.pid!, { ownIds, root: root?.fd }));
      });
    } catch (error) {
      if (error instanceof ContainerStateError) return [];
      throw error;
    }
  }

  /**
   * What the program wrote, with the moment it was read: the last `maxOutput.bytes` of it (64 MiB unless told otherwise), whatever
   * the result keeps; or as much as the files of `log` hold, rotated ones included.
   *
   * @throws NsError `ERR_NS_TIMEOUT`, or the reason of `signal`: patience was lost, from the iterator
   */
  logs(options: LogOptions = {}): AsyncIterable<LogEntry> {
    const { patience, rest } = splitPatience(checkCall('logs', options));
    return interruptiblyEach('reading the log', patience, (signal) =>
      this.#life.eachWhileLookingOn(this.#life.readLogs({ ...rest, signal })),
    );
  }

  /**
   * What it changed: paths that are new, modified or gone, from its layers alone. Running, stopped, or just made.
   *
   * @throws NsError `ERR_NS_NO_LAYER`: what it writes is in no layer of its own (`writable: 'direct'` or `'none'`)
   * @throws NsError `ERR_NS_TIMEOUT`, or the reason of `signal`: patience was lost
   */
  async diff(patience: Patience = {}): Promise<Change[]> {
    return interruptibly('looking for changes', checkCall('patience', patience), async (signal) => {
      await ownTurn(this.id);
      return this.#life.withOverlays((overlays) => diffContainer(overlays, signal), signal);
    });
  }

  /**
   * The same as an OCI layer archive. When patience is lost the stream is destroyed with the reason.
   *
   * @throws NsError `ERR_NS_NO_LAYER`: what it writes is in no layer of its own
   */
  diffStream(patience: Patience = {}): Readable {
    checkCall('patience', patience);
    return interruptiblyRead('archiving changes', patience, this.#life.holdOverlays().stream(streamContainerDiff));
  }

  /**
   * Accepts what it changed: makes the tree at `target` like its own, each file by rename. `target` is `/` for a view of
   * the host. What it made as root works here as well, set-user-ID programs and devices included: `privileges: 'drop'`
   * leaves that out, for a program that is not trusted.
   *
   * @param options.select - which paths to accept
   * @param options.privileges - `drop`: no devices, no set-user-ID, set-group-ID or file capabilities. Default `keep`
   * @param options.timeout - milliseconds; with `signal`, who loses patience has some of the changes in `target`
   * @throws NsError `ERR_NS_UNSAFE_PATH`: a link stands where an accepted change needs a directory
   */
  async apply(target: string, options: ApplyChangesOptions & Patience = {}): Promise<AppliedChanges> {
    const { patience, rest } = splitPatience(options);
    checkCall('apply', { ...rest, target });
    checkCall('patience', patience);
    return interruptibly('applying changes', patience, async (signal) => {
      await ownTurn(this.id);
      return this.#life.withOverlays(
        (overlays) => applyContainer(overlays, target.replace(/\/+$/, ''), { ...rest, signal }),
        signal,
      );
    });
  }

  /**
   * Rejects what it changed; the next start begins anew. It must be stopped. Once begun it is carried through, also for
   * somebody who lost patience: half of the changes would be worth nothing.
   *
   * @throws ContainerStateError `ERR_NS_CONTAINER_RUNNING`: stop it first
   * @throws NsError `ERR_NS_NO_LAYER`: what it writes is in no layer of its own
   */
  async discard(patience: Patience = {}): Promise<void> {
    return this.#inTurn('discarding', checkCall('patience', patience), () =>
      this.#life.exclusive(async () => {
        using held = this.#life.holdOverlays();
        if (this.#life.isAlive)
          throw this.#life.refuse('ERR_NS_CONTAINER_RUNNING', 'discard its changes', 'Stop it first');
        await discardContainer(held.overlays);
      }),
    );
  }

  /**
   * Keeps what it changed as a layer in a directory of layers: `rootfs: { layers: [layer.path, …] }` begins with it.
   * Once begun it is carried through, also for somebody who lost patience: a layer is whole or not there.
   *
   * @throws NsError `ERR_NS_NO_LAYER`: what it writes is in no layer of its own, or in one for each directory
   */
  async commit(store: string, patience: Patience = {}): Promise<StoredLayer> {
    checkCall('commit', { store });
    return this.#inTurn('the commit', checkCall('patience', patience), () =>
      this.#life.withOverlays((overlays) => commitContainer(overlays, store)),
    );
  }

  /**
   * Writes its processes, with all their memory, and its files into a directory, and ends it: {@link Container.restore} makes
   * a container of that. Commands of `exec` are not in it. When it fails, the container goes on as before. Once begun it is
   * carried through, also for somebody who lost patience.
   *
   * For a container without a network, terminal, user namespace, or place to write that is not its own. CRIU does it
   * (criu(8), ptrace(2)): the directory then holds what the processes had in memory, secrets too, readable for root alone.
   *
   * @param options.directory - absolute; made when it is not there, and empty
   * @param options.leaveRunning - let it go on. Default: it ends, as by SIGKILL
   * @param options.tcpEstablished - with connections inside the container. Default: one is a reason to fail
   * @param options.fileLocks - with locks that its processes hold. Default: one is a reason to fail
   * @throws UnavailableError for an ordinary user, without CRIU, or where `criu check` fails
   * @throws CheckpointError `ERR_NS_CHECKPOINT_FAILED`, with CRIU's log
   * @throws NsError `ERR_NS_NOT_CHECKPOINTABLE`, `ERR_NS_CHECKPOINT_EXISTS`, `ERR_NS_CHECKPOINT_UNSAFE`
   */
  async checkpoint(options: CheckpointOptions): Promise<void> {
    return this.#inTurn('the checkpoint', checkCall('checkpoint', options), async () => {
      this.#life.running('checkpoint it');
      const { checkpointContainer } = await loadCheckpoints();
      await checkpointContainer(this.#life, options);
    });
  }

  /**
   * Makes `count` containers that begin with the files this one has now, also those of its own ids and of a directory that
   * keeps writes; they write to memory unless `spec` says otherwise, and a log of theirs is no more in its directory. Pause or stop it meanwhile. For an ordinary user
   * cp(1) of coreutils copies, in a user namespace with the ids of both.
   *
   * @throws SpecError `ERR_NS_INVALID_SPEC`: `spec` leaves no place for files to begin with
   * @throws UnavailableError for an ordinary user: the copies would have other ids (`idMap: 'auto'`), or there is no such cp
   * @throws NsError `ERR_NS_FORK`: an ordinary user's files could not be copied, as when there is no room for them
   * @throws ContainerStateError `ERR_NS_CONTAINER_RUNNING`: for an ordinary user, while its program runs
   */
  async fork(count = 1, spec: Partial<ContainerSpec> = {}, patience: Patience = {}): Promise<Container[]> {
    checkCall('fork', { count, spec });
    return patientlyMade(
      'forking',
      checkCall('patience', patience),
      (unwanted) => this.#forks(count, spec, unwanted),
      removeAll,
    );
  }

  /**
   * Copies a file or tree of the host into the container, running or stopped. Links in it lead nowhere outside (CVE-2018-15664).
   *
   * As cp(1) does: into `to` when that is a directory or ends in `/`, else as `to`; `from` that ends in `/.` is what is in it.
   * Missing directories on the way are made. A relative path of the host is one of the working directory.
   *
   * @param options.ownership - `keep`: ids on the host become the same ids inside (default as root); `ignore`: all is root's
   * inside (default otherwise); or an owner inside
   * @throws SyscallError `ENOENT`: there is no `from`
   * @throws ContainerStateError `ERR_NS_CONTAINER_NOT_RUNNING`: it ended meanwhile, and has a part of it
   * @throws UnavailableError stopped, for an ordinary user, and before Linux 6.15 unless it writes to a directory, with the ids of the host
   */
  async copyIn(from: string, to: string, options: CopyOptions = {}): Promise<CopiedTree> {
    return this.#copy(copyIntoContainer, 'copy into it', { from, to }, options);
  }

  /**
   * Copies a file or tree of the container, running or stopped, to the host, by the rules of {@link copyIn}. Links in it lead
   * nowhere outside (CVE-2018-15664).
   *
   * @param options.ownership - `keep`: ids inside become the same ids on the host (default as root); `ignore`: all is the
   * caller's (default otherwise); or an owner on the host
   * @param options.privileges - `drop`: no devices, no set-user-ID, set-group-ID or file capabilities, which programs inside can give
   * to what they write: for what is not trusted. Default `keep` where owners are kept, else `drop`
   * @throws SyscallError `ENOENT`: there is no `from`. `EAGAIN`: a program holds a lease on a file and keeps it
   * @throws UnavailableError stopped, before Linux 6.15 unless it writes to a directory, with the ids of the host
   * @throws NsError `ERR_NS_NO_LAYER`: stopped, and its root was not one overlay
   */
  async copyOut(from: string, to: string, options: CopyOptions = {}): Promise<CopiedTree> {
    return this.#copy(copyOutOfContainer, 'copy out of it', { from, to }, options);
  }

  async #copy(
    copy: typeof copyIntoContainer,
    wanted: string,
    paths: { readonly from: string; readonly to: string },
    options: CopyOptions,
  ): Promise<CopiedTree> {
    const { patience, rest } = splitPatience(options);
    checkCall('copy', { ...rest, ...paths });
    checkCall('patience', patience);
    return interruptibly('copying', patience, async (signal) => {
      await ownTurn(this.id);
      return this.#life.atRest(
        async () => copy(this.#life.root(wanted), this.#life.run!.design.namespaces, { ...rest, signal, ...paths }),
        signal,
      );
    });
  }

  /**
   * Mounts something in the running container, until `unmount` or its end: a restart knows nothing of it.
   *
   * @throws SpecError `ERR_NS_INVALID_SPEC`
   * @throws NsError `ERR_NS_MOUNT_SOURCE`
   * @throws UnavailableError an ordinary user for an `owner`: id-mapped mounts take CAP_SYS_ADMIN on the host
   * @throws SyscallError the target is no place for it: `ENOTDIR`, `ELOOP`
   */
  async mount(mount: MountSpec, patience: Patience = {}): Promise<void> {
    const checked = validateMount(mount);
    assertOwnMounts(this.#life.spec, 'mount');
    checkLaterMount(this.#life.spec, checked, 'options');
    const add = async () => {
      await ownTurn(this.id);
      return this.#life.during('mount something in it', (run) => this.#mounts.add(run, checked));
    };
    return patientlyMade('mounting', checkCall('patience', patience), add, () => this.unmount(checked.target));
  }

  /**
   * Takes away what `mount` put there, also when it is in use. Once begun it is carried through, also for somebody who lost
   * patience.
   *
   * @throws NsError `ERR_NS_NOT_MOUNTED`
   */
  async unmount(target: string, patience: Patience = {}): Promise<void> {
    checkCall('unmount', { target });
    return this.#inTurn('unmounting', checkCall('patience', patience), () =>
      this.#life.during('unmount something in it', (run) => this.#mounts.remove(run, target)),
    );
  }

  /**
   * Its whole file system as a tar archive, without what is mounted in it, owners as they are inside. Running or stopped. Of
   * a view of this machine in a user namespace, what nobody in that may read is left out.
   *
   * @throws NsError `ERR_NS_NO_LAYER`: stopped, and its root was not one overlay
   */
  export(options: ExportOptions = {}): Readable {
    const { patience, rest } = splitPatience(options);
    checkCall('export', rest);
    checkCall('patience', patience);
    const archive = exportContainer(this.#life.root('export it'), this.#life.run!.design, rest);
    return interruptiblyRead('the export', patience, archive);
  }

  /**
   * Everything the program writes from now on, and what it shall read, as one stream, which closes when the program has
   * ended and its output was read. `end()` ends an input that is a pipe (`stdin: 'pipe'`), for all who are attached; a terminal
   * stays. `destroy()` leaves the program alone. Several may be attached: the program waits for the slowest.
   *
   * @throws ContainerStateError `ERR_NS_CONTAINER_NOT_RUNNING`
   */
  attach(): Duplex {
    const attached = new AttachedStream(this.#life.alive('attach to it').streams, this.#life);
    return attached.once('close', this.#life.lookOn());
  }

  /**
   * Changes the size of its terminal, for its next runs too; needs `tty: true`.
   *
   * @throws ContainerStateError `ERR_NS_CONTAINER_NOT_RUNNING`; `ERR_NS_CONTAINER_NOT_OURS`: another process has that terminal
   * @throws SpecError `ERR_NS_INVALID_SPEC`: `columns` and `rows` are from 1 to 65,535
   */
  resize(size: TerminalSize): void {
    checkCall('resize', size);
    const { streams } = this.#life.alive('resize its terminal');
    if (this.#life.spec.tty) this.#life.assertOurs('resize its terminal');
    if (streams instanceof TerminalStreams) streams.resize(size);
  }

  /** Writes to the program's input; needs `stdin: 'pipe'`. */
  get stdin(): Writable | null {
    return this.#life.run?.streams.stdin ?? null;
  }

  /** Calls somebody at each such event from now on, whichever process is behind it. Does not keep the event loop alive. */
  on<Type extends ContainerEvent['type']>(
    type: Type,
    listener: (event: Extract<ContainerEvent, { type: Type }>) => void,
  ): this {
    checkListener(type, listener);
    this.#life.events.on(type, listener);
    return this;
  }

  /** Calls him no more. */
  off<Type extends ContainerEvent['type']>(
    type: Type,
    listener: (event: Extract<ContainerEvent, { type: Type }>) => void,
  ): this {
    checkListener(type, listener);
    this.#life.events.off(type, listener);
    return this;
  }

  /** What happens to it from now on, whichever process is behind it. Ends when it is removed; when patience does, the iterator throws the reason. */
  events(patience: Patience = {}): AsyncIterable<ContainerEvent> {
    checkCall('patience', patience);
    return interruptiblyEach('waiting for events', patience, (signal) =>
      this.#life.eachWhileLookingOn(this.#life.events.iterate(signal)),
    );
  }

  /**
   * Removes the container and everything that belongs to it. Idempotent.
   *
   * @throws ContainerStateError `ERR_NS_CONTAINER_RUNNING`: it runs, and `force` was not given
   */
  async remove(options: { force?: boolean } & Patience = {}): Promise<void> {
    const { force = false, ...patience } = checkCall('remove', options);
    return this.#inTurn('removing', patience, () => removeContainer(this.#life, { force }));
  }

  /**
   * Lets it go on without us: it survives this process, and `Container.get` finds it again, with its output and its end.
   * This object can still be used; disposing of it leaves the container alone from now on. Its restart policy and health checks,
   * which were of this process, end, and none begins when it is started again here.
   *
   * @throws NsError `ERR_NS_CONTAINER_NOT_DETACHABLE`: it was not made with `lifetime: { dieWithParent: false }`
   */
  detach(): void {
    this.#life.alive('detach it');
    const { spec, status } = this.#life;
    if (!isDetachable(spec) || status === 'created') throw notDetachable(this.id, status);
    this.#detached = true;
    this.#life.letGo();
  }

  /**
   * Removes it, unless it was detached or found: then only this object is done with it, when what was asked for has been done.
   * Of a found one, who waits for its end and who calls anything after that hears `ERR_NS_CONTAINER_LEFT`; its logs, events
   * and stats end.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#life.isFound) await patientlyInTurn('leaving', {}, () => this.#life.leave(), this.id);
    else if (!this.#detached) await this.remove({ force: true });
  }

  /** What is called on one container keeps its order. */
  #inTurn<Value>(what: string, patience: Patience, act: () => Value | Promise<Value>): Promise<Value> {
    const unlessLeft = () => {
      this.#life.assertHeld('use it');
      return act();
    };
    return patientlyInTurn(what, patience, unlessLeft, this.id);
  }

  /** All of them, or none. */
  async #forks(count: number, changes: Partial<ContainerSpec>, unwanted: AbortSignal): Promise<Container[]> {
    // cp(1) goes by names: what runs could put a link to the user's own files in the place of a directory (CVE-2018-15664).
    if (process.geteuid!() !== 0 && this.#life.status === 'running')
      throw this.#life.refuse('ERR_NS_CONTAINER_RUNNING', 'fork it', 'Stop or pause it first, or run as root');
    const fork = async (files: readonly FirstFiles[]) => {
      const made = new Container(validateSpec({ ...specToFork(this.#life.spec), ...changes }));
      await made.#life.create({ files, unwanted });
      return made;
    };
    const forks = await this.#life.withOverlays((files) =>
      Promise.allSettled(Array.from({ length: count }, () => fork(files))),
    );
    const made = forks.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const failed = forks.find((one) => one.status === 'rejected');
    if (!failed) return made;
    await removeAll(made);
    throw failed.reason;
  }
}

async function removeAll(containers: readonly Container[]): Promise<void> {
  await Promise.all(containers.map((container) => container.remove({ force: true })));
}

/** Loaded late: few ask for it. */
const loadCheckpoints = () => import('./checkpoint/checkpoint-container.ts');
