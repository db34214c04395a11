import type { Duplex, Readable, Writable } from 'node:stream';
import { setTimeout as setTimeoutPromise } from 'node:timers/promises';
import { fromDockerLimits, parseSize, type Stats } from '@ns/cgroups';
import { type Explanation, SIGNALS } from '@ns/launch';
import { SpecError } from '@ns/libc';
import type { Endpoint, RefusedConnection } from '@ns/netns';
import {
  type AppliedChanges,
  type ApplyChangesOptions,
  type Change,
  type CopiedTree,
  type StoredLayer,
  treeStream,
} from '@ns/overlayfs';
import { AdoptedRun } from './adopted-run.ts';
import { AttachedStream } from './attached-stream.ts';
import { explainSpec } from './blueprint.ts';
import { type CgroupWatchEvent, watchContainerCgroup } from './cgroup-watch.ts';
import {
  applyContainer,
  type ContainerOverlay,
  commitContainer,
  copyAcross,
  diffContainer,
  discardContainer,
  overlaysOf,
  snapshotContainer,
  streamContainerDiff,
} from './container-files.ts';
import { claimName, releaseName } from './container-names.ts';
import { type ContainerProcess, feedInput } from './container-process.ts';
import { cgroupOf, processIds, signalProcess, statsOf } from './container-processes.ts';
import { ContainerRun } from './container-run.ts';
import {
  type ContainerState,
  type ContainerStatus,
  findState,
  readStates,
  removeState,
  writeState,
} from './container-state.ts';
import { defaultMaxOutputBytes } from './defaults.ts';
import { newId } from './design.ts';
import { checkDetachable, isDetachable, notDetachable } from './detachment.ts';
import { ContainerStateError } from './errors.ts';
import { EventHub } from './event-hub.ts';
import { type ExecOptions, exec } from './exec.ts';
import type { HealthState } from './health.ts';
import { LogBuffer, type LogEntry, type LogOptions } from './log-buffer.ts';
import type { MountSpec } from './mount-spec.ts';
import { type ContainerPort, liveNetworks, portsOf, updateNetwork } from './network/live-networks.ts';
import { type ContainerUpdate, type PlannedChange, planUpdate } from './planned-changes.ts';
import { identifyProcess, type ProcessIdentity } from './process-identity.ts';
import { describeProcesses, type ProcessInfo } from './process-list.ts';
import type { Result } from './result.ts';
import type { RunHandle } from './run-handle.ts';
import { RunningMounts } from './running-mounts.ts';
import { newScratchWithBase, type Scratch } from './scratch.ts';
import { stateDirectory } from './state-root.ts';
import { specToStore } from './stored-spec.ts';
import { Supervision, type SupervisionEvent } from './supervision.ts';
import { type TerminalSize, TerminalStreams } from './terminal-streams.ts';
import { type ContainerTrace, traced, traceOnly } from './tracing.ts';
import type { ContainerSpec } from './types.ts';
import { validateExec, validateMount, validateSpec } from './validate-spec.ts';

/** Something that happened to a container. */
export type ContainerEvent =
  | { readonly type: 'start'; readonly pid: number }
  | { readonly type: 'exit'; readonly result: Result }
  | CgroupWatchEvent
  | { readonly type: 'pause' | 'resume' | 'remove' }
  /** The egress policy refused a connection. */
  | ({ readonly type: 'egress' } & RefusedConnection)
  | SupervisionEvent;

/** One line of {@link Container.list}. */
export interface ContainerInfo {
  readonly id: string;
  readonly name: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly command: readonly string[];
  readonly status: ContainerStatus;
  readonly pid: number | undefined;
  readonly createdAt: Date;
}

/**
 * A container that is made, started and looked after step by step. {@link run} is the short way for one command.
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
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAt: Date;
  #spec: ContainerSpec;
  /** Another process made it, or this one in an earlier life. */
  readonly #found: boolean;
  readonly #owner: ProcessIdentity;
  readonly #events = new EventHub<ContainerEvent>();
  readonly #logs: LogBuffer;
  readonly #mounts = new RunningMounts();
  readonly #supervision: Supervision;
  readonly #maxOutputBytes: number;
  #run: RunHandle | undefined;
  #scratch: Scratch | undefined;
  #status: ContainerStatus = 'created';
  #detached = false;
  #unwatch = () => {};

  private constructor(id: string, spec: ContainerSpec, found?: ContainerState) {
    this.id = id;
    this.#spec = spec;
    this.#found = found !== undefined;
    this.#owner = found?.owner ?? identifyProcess(process.pid)!;
    this.createdAt = found ? new Date(found.createdAt) : new Date();
    this.labels = spec.labels ?? {};
    this.#maxOutputBytes = parseSize(spec.maxOutput?.bytes ?? defaultMaxOutputBytes, 'maxOutput.bytes');
    this.#logs = new LogBuffer(this.#maxOutputBytes);
    this.#supervision = new Supervision(found ? {} : spec, {
      exec: (argv, options) => this.exec(argv, options),
      startAgain: () => this.#begin(),
      emit: (event) => this.#events.emit(event),
    });
  }

  /**
   * Makes a container and prepares everything; its program is not started yet.
   *
   * @throws SpecError `ERR_NS_INVALID_SPEC`
   * @throws NsError `ERR_NS_CONTAINER_EXISTS`: the name is taken
   * @throws ContainerStartError `ERR_NS_CONTAINER_START`: a step of the setup failed; nothing is left behind
   */
  static async create(spec: ContainerSpec, options: { signal?: AbortSignal } = {}): Promise<Container> {
    const checked = validateSpec(spec);
    checkDetachable(checked);
    options.signal?.throwIfAborted();
    const container = new Container(newId(), checked);
    if (checked.name !== undefined) claimName(checked.name, container.id);
    try {
      await traced('create', container.#trace, () => container.#prepare());
    } catch (error) {
      if (checked.name !== undefined) releaseName(checked.name);
      removeState(container.id);
      throw error;
    }
    if (options.signal?.aborted) {
      await container.remove({ force: true });
      options.signal.throwIfAborted();
    }
    return container;
  }

  /**
   * Finds a container by its id, the beginning of it, or its name: one that was detached, or that another process has.
   * It can be asked and told everything but to start; its output is there when it was made with
   * `lifetime: { dieWithParent: false }`. The object does not keep the event loop alive unless something waits, and
   * disposing of it leaves the container alone.
   *
   * @throws NsError `ERR_NS_CONTAINER_NOT_FOUND`
   */
  static async get(idOrName: string): Promise<Container> {
    const state = findState(idOrName);
    const container = new Container(state.id, state.spec, state);
    const run = await AdoptedRun.adopt(state, container.#logs, container.#maxOutputBytes);
    container.#status = run.status;
    container.#follow(run);
    return container;
  }

  /** Containers of this state root, whoever made them. */
  static async list(
    filter: { name?: string; labels?: Readonly<Record<string, string>>; status?: ContainerStatus } = {},
  ): Promise<ContainerInfo[]> {
    const wanted = Object.entries(filter.labels ?? {});
    return readStates()
      .map(({ id, name, labels, command, status, init, createdAt }) => ({
        id,
        name,
        labels,
        command,
        status,
        pid: init?.pid,
        createdAt: new Date(createdAt),
      }))
      .filter(({ name }) => filter.name === undefined || name === filter.name)
      .filter(({ status }) => filter.status === undefined || status === filter.status)
      .filter(({ labels }) => wanted.every(([key, value]) => labels[key] === value));
  }

  /** What a container with this specification would be, without making it. Needs no privileges. */
  static explain(spec: ContainerSpec): Explanation {
    return explainSpec(newId(), validateSpec(spec));
  }

  get name(): string | undefined {
    return this.#spec.name;
  }

  get status(): ContainerStatus {
    return this.#status;
  }

  /** What the health checks have shown; undefined without `health` in the specification, or before the start. */
  get health(): HealthState | undefined {
    return this.#supervision.health;
  }

  /** Pid of the first process, in the caller's pid namespace; undefined when there is none. */
  get pid(): number | undefined {
    return this.#isAlive ? this.#run?.launched.pid : undefined;
  }

  /** Its published ports, with those the system chose. */
  get ports(): readonly ContainerPort[] {
    return portsOf(this.id);
  }

  /** Its networks by name, with its link and addresses in each. */
  get networks(): Record<string, Endpoint> {
    return Object.fromEntries(liveNetworks.get(this.id)?.places ?? []);
  }

  /** The plan of this container: the steps, their system calls, and why. */
  explain(): Explanation {
    return explainSpec(this.id, this.#spec);
  }

  /**
   * Lets the program begin; settles when it runs, or with `wait` when it is ready. A stopped container is started again with the files it had.
   *
   * @throws ContainerStartError `ERR_NS_COMMAND_NOT_FOUND`, `ERR_NS_COMMAND_NOT_EXECUTABLE` with the exit code of a shell
   * @throws ContainerStateError `ERR_NS_CONTAINER_RUNNING`
   * @throws WaitError `ERR_NS_WAIT_TIMEOUT`, `ERR_NS_WAIT_FAILED`: it is not ready; it may be running all the same
   */
  async start(): Promise<void> {
    const startedAt = Date.now();
    await this.#supervision.holdBack();
    await this.#begin();
    const { launched, result } = this.#run!;
    await this.#supervision.ready({ pid: launched.pid!, logs: this.#logs, startedAt, ended: result });
  }

  #begin(): Promise<void> {
    return traced('start', this.#trace, () => this.#startProgram());
  }

  async #startProgram(): Promise<void> {
    if (this.#found && this.#status !== 'running' && this.#status !== 'paused') throw this.#notOurs('start it');
    if (this.#status === 'stopped') await this.#prepare();
    if (this.#status !== 'created')
      throw new ContainerStateError('ERR_NS_CONTAINER_RUNNING', this.id.slice(0, 12), this.#status, 'start it');
    const run = this.#run!;
    this.#supervision.beginning();
    run.launched.go();
    feedInput(run.streams, this.#spec.stdin);
    try {
      await run.launched.executed;
    } catch {
      await run.result;
      throw new ContainerStateError(
        'ERR_NS_CONTAINER_STOPPED',
        this.id.slice(0, 12),
        'stopped',
        'start it: it was ended during its start',
      );
    }
    // It may have run to its end by now.
    if (this.#isAlive) this.#setStatus('running');
    this.#events.emit({ type: 'start', pid: run.launched.pid! });
    if (this.#isAlive) this.#supervision.began();
    traceOnly('exit', this.#trace, () => run.result);
  }

  /** How the program ended. Before or after the start, any number of times; after a restart, how that run ends. */
  wait(): Promise<Result> {
    const { launched, result } = this.#run!;
    // Detached or found, it would not keep us waiting.
    if (this.#isAlive) launched.ref();
    return result;
  }

  /** Runs a command inside. When it settles, every process it started is gone. */
  exec(
    command: string | readonly string[],
    args: readonly string[] | ExecOptions = [],
    options: ExecOptions = {},
  ): ContainerProcess {
    const argv = [
      ...(typeof command === 'string' ? [command] : command),
      ...(Array.isArray(args) ? (args as string[]) : []),
    ];
    const chosen = Array.isArray(args) ? options : (args as ExecOptions);
    const checked = validateExec(argv, chosen);
    const target = () => {
      const run = this.#running('run a command in it');
      const { pid, pidfd } = run.launched;
      return {
        design: run.design,
        spec: this.#spec,
        pid: pid!,
        pidfd: pidfd!,
        namespaces: run.launched.namespaces,
        newCgroup: () => run.newExecCgroup(this.#spec.limits),
      };
    };
    return traceOnly('exec', { ...this.#trace, command: argv }, () => exec(argv, checked, target));
  }

  /** Sends a signal to the program, SIGKILL by default as Docker does. `all`: to every process of the container. */
  async kill(signal: NodeJS.Signals = 'SIGKILL', options: { all?: boolean } = {}): Promise<void> {
    const run = this.#alive('kill it');
    if (!(signal in SIGNALS)) throw new SpecError('signal', "a signal name such as 'SIGTERM'", signal);
    if (signal === 'SIGKILL') await this.#supervision.holdBack();
    if (options.all && signal !== 'SIGKILL') {
      for (const pid of await processIds(run)) signalProcess(pid, SIGNALS[signal]);
    } else run.launched.signal(signal);
    if (signal === 'SIGKILL') await this.wait().catch(() => {});
  }

  /** Asks the program to end, and ends it after `timeout` ms. Idempotent. */
  async stop({
    timeout = 10_000,
    signal = this.#spec.stopSignal ?? 'SIGTERM',
  }: {
    timeout?: number;
    signal?: NodeJS.Signals;
  } = {}): Promise<void> {
    await this.#supervision.holdBack();
    if (!this.#isAlive) return;
    const run = this.#run!;
    if (this.#status === 'paused') await this.resume();
    if (this.#status === 'created') run.launched.kill();
    else run.launched.signal(signal);
    const timer = setTimeout(() => run.launched.kill(), timeout);
    await this.wait().catch(() => {});
    clearTimeout(timer);
  }

  /** Stops and starts it again, with the files it had. */
  async restart(options: { timeout?: number } = {}): Promise<void> {
    await this.stop(options);
    await this.start();
  }

  /** Holds every process still. */
  async pause(): Promise<void> {
    if (this.#status === 'paused') return;
    await cgroupOf(this.#running('pause it'), 'pausing a container').freeze();
    this.#setStatus('paused');
    this.#events.emit({ type: 'pause' });
  }

  async resume(): Promise<void> {
    if (this.#status !== 'paused') return;
    await this.#run!.cgroup!.thaw();
    this.#setStatus('running');
    this.#events.emit({ type: 'resume' });
  }

  /**
   * Changes limits, egress policy or bandwidth of the running container. Limits and directions not named stay; a policy
   * is replaced, for connections that begin from now on.
   *
   * @param options.dryRun - only say what would change
   * @returns what changed
   * @throws UnavailableError on v1 for a limit of a controller that no limit was given for at the start
   * @throws NsError `ERR_NS_NO_EGRESS_POLICY`: it was made without one
   */
  async update(changes: ContainerUpdate, options: { dryRun?: boolean } = {}): Promise<PlannedChange[]> {
    const { spec, planned } = planUpdate(this.#spec, changes);
    const checked = validateSpec(spec);
    const limits = changes.limits && fromDockerLimits(changes.limits);
    if (options.dryRun) return planned;
    const run = this.#alive('update it');
    if (limits) await cgroupOf(run, 'changing limits').update(limits);
    await updateNetwork(this.id, changes);
    this.#spec = checked;
    this.#setStatus(this.#status);
    return planned;
  }

  /**
   * Gives it another name.
   *
   * @throws NsError `ERR_NS_CONTAINER_EXISTS`: the name is taken
   */
  async rename(name: string): Promise<void> {
    const renamed = validateSpec({ ...this.#spec, name });
    const before = this.name;
    if (name === before) return;
    claimName(name, this.id);
    if (before !== undefined) releaseName(before);
    this.#spec = renamed;
    this.#setStatus(this.#status);
  }

  /** What it uses: once, or every `interval` ms until it ends. */
  stats(): Promise<Stats>;
  stats(options: { interval: number }): AsyncIterable<Stats>;
  stats(options?: { interval: number }): Promise<Stats> | AsyncIterable<Stats> {
    return options ? this.#statsEvery(options.interval) : this.#statsNow();
  }

  async #statsNow(): Promise<Stats> {
    return statsOf(this.#alive('read its stats'));
  }

  /** Its processes, as `ps` outside and inside would show them. */
  async processes(): Promise<ProcessInfo[]> {
    return this.#isAlive ? describeProcesses(await processIds(this.#run!)) : [];
  }

  /** What the program wrote, with the moment it was read. */
  logs(options: LogOptions = {}): AsyncIterable<LogEntry> {
    return this.#logs.read(options);
  }

  /** What it changed: paths that are new, modified or gone, from its layers alone. Running, stopped, or just made. */
  diff(): Promise<Change[]> {
    return diffContainer(this.#overlays);
  }

  /** The same as an OCI layer archive. */
  diffStream(): Readable {
    return streamContainerDiff(this.#overlays);
  }

  /**
   * Accepts what it changed: makes the tree at `target` like its own, each file by rename. `target` is `/` for a view of
   * the host.
   *
   * @param options.select - which paths to accept
   * @throws UnsafePathError a link stands where an accepted change needs a directory
   */
  apply(target: string, options: ApplyChangesOptions = {}): Promise<AppliedChanges> {
    return applyContainer(this.#overlays, target.replace(/\/+$/, ''), options);
  }

  /** Rejects what it changed; the next start begins anew. It must be stopped. */
  async discard(): Promise<void> {
    if (this.#isAlive)
      throw new ContainerStateError(
        'ERR_NS_CONTAINER_RUNNING',
        this.id.slice(0, 12),
        this.#status,
        'discard its changes',
        'Stop it first',
      );
    await discardContainer(this.#overlays);
  }

  /** Keeps what it changed as a layer in a directory of layers: `rootfs: { layers: [layer.path, …] }` begins with it. */
  commit(store: string): Promise<StoredLayer> {
    return commitContainer(this.#overlays, store);
  }

  /** Makes `count` containers that begin with the files this one has now. Pause or stop it meanwhile. */
  async fork(count = 1, spec: Partial<ContainerSpec> = {}): Promise<Container[]> {
    return Promise.all(Array.from({ length: count }, () => this.#fork(spec)));
  }

  /** Copies a file or tree of the host into the running container. */
  copyIn(from: string, to: string): Promise<CopiedTree> {
    return copyAcross({ root: '/', path: from }, { root: this.#rootPath('copy into it'), path: to });
  }

  /** Copies a file or tree of the running container to the host. Links in it lead nowhere outside (CVE-2018-15664). */
  copyOut(from: string, to: string): Promise<CopiedTree> {
    return copyAcross({ root: this.#rootPath('copy out of it'), path: from }, { root: '/', path: to });
  }

  /**
   * Mounts something in the running container, until `unmount` or its end: a restart knows nothing of it.
   *
   * @throws SpecError `ERR_NS_INVALID_SPEC`
   * @throws NsError `ERR_NS_MOUNT_SOURCE`
   * @throws UnavailableError for an ordinary user; for a file before Linux 6.15
   * @throws SyscallError the target is no place for it: `ENOTDIR`, `ELOOP`
   */
  async mount(mount: MountSpec): Promise<void> {
    await this.#mounts.add(this.#alive('mount something in it'), validateMount(mount));
  }

  /**
   * Takes away what `mount` put there, also when it is in use.
   *
   * @throws NsError `ERR_NS_NOT_MOUNTED`
   */
  async unmount(target: string): Promise<void> {
    await this.#mounts.remove(this.#alive('unmount something in it'), target);
  }

  /** Its whole file system as a tar archive, without what is mounted in it. */
  export(): Readable {
    return treeStream(this.#rootPath('export it'));
  }

  /** Everything the program writes from now on, and what it shall read, as one stream. Closing it leaves the program alone. */
  attach(): Duplex {
    return new AttachedStream(this.#alive('attach to it').streams);
  }

  /** Changes the size of its terminal; needs `tty: true`. */
  resize(size: TerminalSize): void {
    const { streams } = this.#alive('resize its terminal');
    if (streams instanceof TerminalStreams) streams.resize(size);
  }

  /** Writes to the program's input; needs `stdin: 'pipe'`. */
  get stdin(): Writable | null {
    return this.#run?.streams.stdin ?? null;
  }

  on<Type extends ContainerEvent['type']>(
    type: Type,
    listener: (event: Extract<ContainerEvent, { type: Type }>) => void,
  ): this {
    this.#events.on(type, listener);
    return this;
  }

  off<Type extends ContainerEvent['type']>(
    type: Type,
    listener: (event: Extract<ContainerEvent, { type: Type }>) => void,
  ): this {
    this.#events.off(type, listener);
    return this;
  }

  /** What happens to it from now on. Ends when it is removed. */
  events(): AsyncIterable<ContainerEvent> {
    return this.#events.iterate();
  }

  /**
   * Removes the container and everything that belongs to it. Idempotent.
   *
   * @throws ContainerStateError `ERR_NS_CONTAINER_RUNNING`: it runs, and `force` was not given
   */
  async remove({ force = false }: { force?: boolean } = {}): Promise<void> {
    if (this.#status === 'removed') return;
    if (this.#isAlive && this.#status !== 'created' && !force) {
      throw new ContainerStateError(
        'ERR_NS_CONTAINER_RUNNING',
        this.id.slice(0, 12),
        this.#status,
        'remove it',
        'Stop it first, or remove({ force: true })',
      );
    }
    await this.#supervision.holdBack();
    this.#run?.launched.kill();
    if (this.#run) await this.wait().catch(() => {});
    this.#scratch?.fd.close();
    removeState(this.id);
    if (this.name !== undefined) releaseName(this.name);
    this.#status = 'removed';
    this.#events.emit({ type: 'remove' });
    this.#events.close();
  }

  /**
   * Lets it go on without us: it survives this process, and `Container.get` finds it again, with its output and its end.
   * This object can still be used; disposing of it leaves the container alone from now on.
   *
   * @throws NsError `ERR_NS_CONTAINER_NOT_DETACHABLE`: it was not made with `lifetime: { dieWithParent: false }`
   */
  detach(): void {
    const run = this.#alive('detach it');
    if (!isDetachable(this.#spec) || this.#status === 'created') throw notDetachable(this.id, this.#status);
    this.#detached = true;
    this.#supervision[Symbol.dispose]();
    this.#unwatch();
    run.launched.unref();
  }

  /** Removes it, unless it was detached or found: then only this object is done with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#found) this.#run!.letGo();
    else if (!this.#detached) await this.remove({ force: true });
  }

  get #overlays(): ContainerOverlay[] {
    if (this.#found) throw this.#notOurs('look at what it changed');
    return this.#run && this.#scratch ? overlaysOf(this.#run.steps, this.#scratch.fd) : [];
  }

  #rootPath(wanted: string): string {
    return `/proc/${this.#alive(wanted).launched.pid}/root`;
  }

  async #fork(changes: Partial<ContainerSpec>): Promise<Container> {
    const { name: _, ...own } = this.#spec;
    const fork = new Container(newId(), validateSpec({ ...own, ...changes }));
    fork.#scratch = await newScratchWithBase((base) => snapshotContainer(this.#overlays, base));
    try {
      await fork.#prepare();
    } catch (error) {
      fork.#scratch.fd.close();
      throw error;
    }
    return fork;
  }

  get #trace(): ContainerTrace {
    return { id: this.id, name: this.name, command: this.#spec.command };
  }

  get #isAlive(): boolean {
    return this.#status === 'created' || this.#status === 'running' || this.#status === 'paused';
  }

  async #prepare(): Promise<void> {
    stateDirectory('containers', this.id);
    this.#logs.reopen();
    const run = await ContainerRun.prepare(this.#spec, {
      id: this.id,
      logs: this.#logs,
      maxOutputBytes: this.#maxOutputBytes,
      scratch: this.#scratch,
    });
    this.#scratch?.fd.close();
    this.#scratch = { fd: await run.launched.scratch, covered: true, hasBase: this.#scratch?.hasBase ?? false };
    this.#run = run;
    liveNetworks.get(this.id)?.began(run.launched.pid!, (refused) => this.#events.emit({ type: 'egress', ...refused }));
    this.#setStatus('created');
    this.#unwatch = watchContainerCgroup(run.cgroup, this.#spec, (event) => this.#events.emit(event));
    this.#follow(run);
  }

  #follow(run: RunHandle): void {
    this.#run = run;
    run.result.then(
      (result) => {
        this.#ended(result);
        this.#events.emit({ type: 'exit', result });
        this.#supervision.ended(result);
      },
      () => this.#ended(),
    );
  }

  #ended(result?: Result): void {
    this.#logs.end();
    if (this.#status !== 'removed') this.#setStatus('stopped', result);
  }

  #setStatus(status: ContainerStatus, result?: Result): void {
    this.#status = status;
    const { stdout: _, stderr: __, truncated: ___, ...ending } = result ?? ({} as Partial<Result>);
    const launched = this.#isAlive ? this.#run?.launched : undefined;
    const identify = (pid: number | undefined) => (pid === undefined ? undefined : identifyProcess(pid));
    const spec = specToStore(this.#spec);
    const there = writeState({
      version: 1,
      id: this.id,
      name: this.name,
      labels: this.labels,
      command: this.#spec.command,
      createdAt: this.createdAt.toISOString(),
      owner: this.#owner,
      monitor: identify(launched?.monitorPid),
      init: identify(launched?.pid),
      status,
      detachable: isDetachable(this.#spec),
      ids: this.#run?.ids && { uids: this.#run.ids.uids, gids: this.#run.ids.gids },
      ending: result && (ending as ContainerState['ending']),
      cgroup: launched && this.#run!.cgroup?.name,
      spec,
    });
    // Somebody else has removed it.
    if (!there) this.#status = 'removed';
  }

  #notOurs(wanted: string): ContainerStateError {
    return new ContainerStateError(
      'ERR_NS_CONTAINER_NOT_OURS',
      this.id.slice(0, 12),
      this.#status,
      wanted,
      'Only the process that made it can',
    );
  }

  #alive(wanted: string): RunHandle {
    if (this.#isAlive && this.#run) return this.#run;
    throw new ContainerStateError('ERR_NS_CONTAINER_NOT_RUNNING', this.id.slice(0, 12), this.#status, wanted);
  }

  #running(wanted: string): RunHandle {
    if (this.#status === 'running') return this.#run!;
    const code = this.#status === 'paused' ? 'ERR_NS_CONTAINER_PAUSED' : 'ERR_NS_CONTAINER_NOT_RUNNING';
    throw new ContainerStateError(
      code,
      this.id.slice(0, 12),
      this.#status,
      wanted,
      this.#status === 'created' ? 'Call start() first' : undefined,
    );
  }

  async *#statsEvery(intervalMs: number): AsyncGenerator<Stats, void, undefined> {
    while (this.#isAlive) {
      yield await statsOf(this.#run!);
      await setTimeoutPromise(intervalMs, undefined, { ref: false });
    }
  }
}
