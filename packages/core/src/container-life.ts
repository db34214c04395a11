import { parseSize } from '@ns/cgroups';
import { Deferred } from '@ns/launch';
import { ownTurn, type ProcessIdentity, rollBack } from '@ns/libc';
import { AdoptedRun } from './adopted-run.ts';
import { watchContainerCgroup } from './cgroup-watch.ts';
import { isFrozen } from './container-cgroup.ts';
import type { ContainerRoot } from './container-copies.ts';
import type { ContainerEvent } from './container-event.ts';
import type { ContainerOverlay, HeldOverlays } from './container-overlays.ts';
import { ContainerRecord } from './container-record.ts';
import { refusal } from './container-refusal.ts';
import type { ContainerState, ContainerStatus, StateChanges } from './container-state.ts';
import { ContainerWatch } from './container-watch.ts';
import { defaultMaxOutputBytes } from './defaults.ts';
import { isDetachable } from './detachment.ts';
import type { ContainerStateError } from './errors.ts';
import { EventHub } from './event-hub.ts';
import type { ExecTarget } from './exec.ts';
import { feedInput } from './feed-input.ts';
import { openContainerRoot } from './in-mount-namespace.ts';
import type { WriteLimit } from './kept-writes.ts';
import { type Beginning, LastingResources } from './lasting-resources.ts';
import { LogBuffer, type LogEntry, type LogOptions } from './log-buffer.ts';
import { locateLog, makeLogDirectory } from './log-location.ts';
import { type FoundPlaces, findPlaces, nowhere } from './network/found-places.ts';
import { liveNetworks, userNetworks } from './network/live-networks.ts';
import { Onlookers } from './onlookers.ts';
import { textLimit } from './output.ts';
import { isEnding, isSame } from './process-identity.ts';
import { RequestedEnd } from './requested-end.ts';
import type { Result } from './result.ts';
import type { RunHandle } from './run-handle.ts';
import { endingOf, stateOfRun } from './state-of-run.ts';
import { stateDirectory } from './state-root.ts';
import { readStoredLog } from './stored-log.ts';
import type { StoredSpec } from './stored-spec.ts';
import { type Supervised, Supervision } from './supervision.ts';
import { TerminalStreams } from './terminal-streams.ts';
import { type ContainerTrace, traced, traceOnly } from './tracing.ts';
import { Turns } from './turns.ts';
import type { ContainerSpec } from './types.ts';
import { whileItRuns } from './while-it-runs.ts';

/**
 * Where a container stands between its making and its removal, the run it has now, and the steps from one to the next.
 * What can be done with it meanwhile is {@link Container}'s.
 */
export class ContainerLife {
  readonly events = new EventHub<ContainerEvent>((isHeeded) => {
    if (isHeeded) this.#watch.start();
    else this.#watch[Symbol.dispose]();
  });
  readonly logs: LogBuffer;
  readonly supervision: Supervision;
  /** Another process made it, or this one in an earlier life. */
  readonly isFound: boolean;
  readonly #maxOutputBytes: number;
  readonly #record: ContainerRecord;
  readonly #resources = new LastingResources();
  #run: RunHandle | undefined;
  /** The first process of the run. */
  #init: ProcessIdentity | undefined;
  #status: ContainerStatus = 'created';
  #begunAt = 0;
  #isLetGo = false;
  #isLeft = false;
  /** Where another process has connected it, when that was looked at. */
  #found = nowhere;
  #unwatch = () => {};
  readonly #watch = new ContainerWatch(this);
  readonly requestedEnd = new RequestedEnd({
    endOf: (run) => this.end(run),
    endedInStart: () => this.#endedInStart(),
  });
  readonly #orders = new Turns();
  readonly #turns = new Turns();
  readonly #onlookers: Onlookers;
  readonly #left = new Deferred<never>();
  /** Once at a time. */
  #catchingUp: Promise<void> | undefined;

  constructor(spec: ContainerSpec, exec: Supervised['exec'], found?: ContainerState) {
    this.#record = new ContainerRecord(spec, found);
    this.isFound = found !== undefined;
    this.#onlookers = new Onlookers(this.isFound);
    this.#maxOutputBytes = textLimit(parseSize(spec.maxOutput?.bytes ?? defaultMaxOutputBytes, 'maxOutput.bytes'));
    this.logs = new LogBuffer(this.#maxOutputBytes);
    this.supervision = new Supervision(found ? {} : spec, {
      exec,
      runs: () => this.status === 'running' && !isEnding(this.#run!.launched),
      startAgain: () => this.begin({ byItself: true }),
      emit: (event) => this.events.emit(event),
    });
  }

  get id(): string {
    return this.#record.id;
  }

  get createdAt(): Date {
    return this.#record.createdAt;
  }

  get spec(): ContainerSpec {
    return this.#record.spec;
  }

  /** Of what was found: the process that made it is there. */
  get makerLives(): boolean {
    return this.#record.makerLives;
  }

  /** As the kernel and the disk have it: others may be at it, too. */
  get status(): ContainerStatus {
    if (this.#isLeft) return this.#record.read()?.status ?? 'removed';
    if (this.isFound && this.#status === 'created') this.#noticeStart();
    if (this.#status === 'running' || this.#status === 'paused') {
      if (this.#isEnding) return 'stopped';
      return isFrozen(this.#run?.cgroup) ? 'paused' : 'running';
    }
    if (this.#status === 'stopped' && this.#record.isGone) this.#status = 'removed';
    return this.#status;
  }

  /** Its maker, another process, may have let the program go by now. */
  #noticeStart(): void {
    const { status, init } = this.#record.read() ?? {};
    const isOurs = init !== undefined && this.#init !== undefined && isSame(init, this.#init);
    if (isOurs && (status === 'running' || status === 'paused')) this.#status = status;
  }

  /** Its processes are gone; what belongs to them is being cleared up. */
  get #isEnding(): boolean {
    return this.#run?.launched.pidfd?.closed ?? true;
  }

  /** The run there is, or the last there was. */
  get run(): RunHandle | undefined {
    return this.#run;
  }

  /** When its program was let go last, in milliseconds since 1970: what was written before is of another run. */
  get begunAt(): number {
    return this.#begunAt;
  }

  get isAlive(): boolean {
    return this.#status === 'created' || this.#status === 'running' || this.#status === 'paused';
  }

  get trace(): ContainerTrace {
    return { id: this.id, name: this.spec.name, command: this.spec.command };
  }

  /** Its networks by name, with its place in each. */
  get places(): FoundPlaces['places'] {
    return (liveNetworks.get(this.id) ?? this.#foundPlaces).places;
  }

  /** Its published ports. */
  get ports(): FoundPlaces['ports'] {
    return (liveNetworks.get(this.id) ?? userNetworks.get(this.id) ?? this.#foundPlaces).ports;
  }

  get #foundPlaces(): FoundPlaces {
    return this.isAlive && !this.#isEnding ? this.#found : nowhere;
  }

  /** How what it writes is bounded. */
  get writeLimit(): WriteLimit | undefined {
    return this.#resources.writeLimit(this.spec);
  }

  /** Where its changes are, until it is disposed of. */
  holdOverlays(): HeldOverlays {
    if (this.status === 'removed') throw this.refuse('ERR_NS_CONTAINER_REMOVED', 'look at what it changed');
    if (this.isFound) throw this.refuse('ERR_NS_CONTAINER_NOT_OURS', 'look at what it changed');
    return this.#resources.holdOverlays(this.#run!);
  }

  /** Does something with its changes. */
  withOverlays<T>(act: (overlays: readonly ContainerOverlay[]) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.atRest(async () => {
      using held = this.holdOverlays();
      return await act(held.overlays);
    }, signal);
  }

  /** Its file system, also when nothing runs. */
  root(wanted: string): ContainerRoot {
    if (this.isAlive && this.#run && !this.#isEnding)
      return {
        open: () => this.during(wanted, openContainerRoot),
        whileItRuns: (signal, act) => this.during(wanted, (run) => whileItRuns(run, signal, act)),
      };
    if (this.#status !== 'stopped' || this.isFound) this.alive(wanted);
    return this.holdOverlays();
  }

  /**
   * Makes it for the first time. Leaves nothing when it fails.
   *
   * @throws SpecError `ERR_NS_INVALID_SPEC`: it has no place for files to begin with
   */
  async create(beginning: Beginning = {}): Promise<void> {
    // Here nobody knows of it yet: between later steps others would find it half made.
    await ownTurn('making');
    // Without a place for state there is nothing to roll back.
    stateDirectory('containers');
    try {
      this.#record.claim();
      await this.#resources.acquire(this.id, this.spec);
      await traced('create', this.trace, () => this.#prepare(beginning, asked));
    } catch (error) {
      throw await rollBack(error, async () => {
        try {
          // It may wait for its start by now.
          await this.#endRun();
          await this.#resources.release();
        } finally {
          this.#record.remove();
          this.#record.letGo();
        }
      });
    }
  }

  /** Takes hold of what another process has made. */
  async adopt(state: ContainerState): Promise<void> {
    const run = await AdoptedRun.adopt(state, this.#maxOutputBytes);
    this.#init = state.init;
    this.#status = run.status;
    this.#found = await findPlaces(state);
    this.#follow(run);
    if (this.events.isHeeded) this.#watch.start();
  }

  /** Its maker, another process, may have started it again since the run that we know has ended. */
  catchUp(): Promise<void> {
    this.#catchingUp ??= this.#catchUp().finally(() => {
      this.#catchingUp = undefined;
    });
    return this.#catchingUp;
  }

  async #catchUp(): Promise<void> {
    if (!this.isFound || (this.isAlive && !this.#isEnding)) return;
    const state = this.#record.read();
    if (state && state.status !== 'stopped') await this.adopt(state);
  }

  /** Lets the program begin; settles when it runs. By itself it does not begin once somebody has stopped it. */
  begin({ byItself = false }: { readonly byItself?: boolean } = {}): Promise<void> {
    return traced('start', this.trace, () => this.exclusive(() => this.#startProgram(byItself)));
  }

  /** Does what was asked for when all that was asked for before is done. */
  inOrder<T>(act: () => Promise<T>): Promise<T> {
    return this.#orders.take(act);
  }

  /** Does something that must not happen while it is being started or removed, nor while another such thing happens. */
  exclusive<T>(act: () => Promise<T>): Promise<T> {
    return this.#turns.take(act);
  }

  /**
   * Does something with its files; when it is stopped, it is not started meanwhile.
   *
   * @param signal - gives up waiting for others who do; what has begun heeds it itself
   */
  async atRest<T>(act: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.isAlive && !this.#isEnding ? act() : this.#turns.take(act, signal);
  }

  /** Does something with the run there is. That it ends meanwhile is said in our words. */
  async during<T>(wanted: string, act: (run: RunHandle) => Promise<T>): Promise<T> {
    if (this.isFound) await this.catchUp();
    const run = this.alive(wanted);
    try {
      return await act(run);
    } catch (error) {
      throw this.#refusal(run, wanted) ?? error;
    }
  }

  /** How a run ends, unless it is left before. */
  endOf(run: RunHandle): Promise<Result> {
    return Promise.race([run.result, this.#left.promise]);
  }

  /** Somebody waits for something of it. Not started, detached or found, it keeps the event loop alive only until he says that he is done. */
  lookOn(run = this.isAlive ? this.#run : undefined): () => void {
    return run ? this.#onlookers.add(run.launched) : () => {};
  }

  /** The same while what comes piece by piece is looked at. */
  async *eachWhileLookingOn<Value>(values: AsyncIterable<Value>): AsyncGenerator<Value, void, undefined> {
    const done = this.lookOn();
    try {
      yield* values;
    } finally {
      done();
    }
  }

  /**
   * Settles when a run has ended, and keeps the event loop alive until then. It need not be the present one: somebody may start it
   * again at once.
   */
  async end(run: RunHandle): Promise<void> {
    const done = this.lookOn(run);
    await Promise.race([run.ended, this.#left.promise]).catch(() => {});
    done();
  }

  /** What was written, from files where it is kept in some. */
  readLogs(options: LogOptions): AsyncIterable<LogEntry> {
    const location = locateLog(this.id, this.spec);
    return location ? readStoredLog(location, options, this.logs) : this.logs.read(options);
  }

  /** These fields of the specification are others from now on. */
  respecify(change: (spec: StoredSpec) => StoredSpec): void {
    if (!this.#record.respecify(change)) this.#status = 'removed';
  }

  /**
   * Gives it another name.
   *
   * @throws ContainerStateError `ERR_NS_CONTAINER_REMOVED`
   */
  rename(name: string): void {
    this.assertHeld('rename it');
    if (this.#record.rename(name)) return;
    this.#status = 'removed';
    throw this.refuse('ERR_NS_CONTAINER_REMOVED', 'rename it');
  }

  setStatus(status: ContainerStatus, result?: Result): void {
    this.#status = status;
    this.#watch.isPaused = status === 'paused';
    const changes = {
      ...stateOfRun(this.id, this.#run, this.isAlive),
      status,
      ...(status === 'stopped' && {
        // Who has found it waits for the word of its maker.
        ended: result || !this.isFound ? this.#init : undefined,
        ending: result && endingOf(result),
      }),
    };
    this.#change(`is ${status}`, ({ init, ended }) => {
      // Its maker may have begun another run before we hear of the end of ours, and knows better how that ended.
      const isOurs = !init || (this.#init !== undefined && isSame(init, this.#init));
      const isTold = !init && ended !== undefined;
      return isOurs && !(this.isFound && isTold) ? changes : {};
    });
  }

  /**
   * The user decides: nobody starts it again by himself, neither this process nor the one that made it.
   *
   * @returns whether this process was about to
   * @throws SyscallError when its maker, another process, cannot be told, and would start it again
   */
  async holdBack(): Promise<boolean> {
    const { restart = 'no' } = this.spec;
    let wasDue = false;
    try {
      this.#change('was asked to stop', { stopRequested: true }, { must: this.isFound && restart !== 'no' });
    } finally {
      wasDue = await this.supervision.holdBack();
    }
    return wasDue;
  }

  /**
   * What is so in the kernel is so, and who has asked for it hears that, also when it cannot be written down: the disk may be
   * full.
   */
  #change(what: string, changes: Parameters<ContainerRecord['change']>[0], { must = false } = {}): void {
    try {
      if (!this.#record.change(changes)) this.#status = 'removed';
    } catch (error) {
      if (must) throw error;
      process.emitWarning(`container ${this.id.slice(0, 12)} ${what}, which could not be written down: ${error}`, {
        code: 'NS_CONTAINER_STATE',
      });
    }
  }

  /** Ends it and forgets it. */
  async remove(): Promise<void> {
    this.#run?.launched.kill();
    await this.exclusive(() => this.#remove());
  }

  async #remove(): Promise<void> {
    for (;;) {
      // Again: it may have been started in between.
      this.#run?.launched.kill();
      if (this.#run) await this.end(this.#run);
      const startedAgain = this.#record.removeIfEnded();
      if (!startedAgain) break;
      // By its maker, another process: this run is not the one that we know.
      await this.adopt(startedAgain);
    }
    // Its maker hears of the removal by its end: we did not wait for what he says of it.
    if (this.#run) await this.endOf(this.#run).catch(() => {});
    await this.forget();
  }

  /** It is removed, by us or by somebody else: frees what this process keeps for its next start. Idempotent. */
  async forget(): Promise<void> {
    this.#status = 'removed';
    try {
      await this.#resources.release();
    } finally {
      this.#record.letGo();
      this.events.emit({ type: 'remove' });
      this.events.close();
    }
  }

  /** Somebody else has removed it: all that is told of it comes before that. */
  async removedByOthers(): Promise<void> {
    await this.#run?.result.catch(() => {});
    await this.exclusive(() => this.forget());
  }

  /** It was found, and is left to whoever made it. What was asked for here before is carried through. */
  async leave(): Promise<void> {
    await this.inOrder(() => this.requestedEnd.settled);
    this.#isLeft = true;
    this.#run!.letGo();
    this.#left.reject(() => this.#leftBefore('wait for its end'));
    this.logs.end();
    this.events.close();
  }

  /** @throws ContainerStateError `ERR_NS_CONTAINER_LEFT`: nothing of it is held here any more */
  assertHeld(wanted: string): void {
    if (this.#isLeft) throw this.#leftBefore(wanted);
  }

  #leftBefore(wanted: string): ContainerStateError {
    const hint = 'Dispose of what Container.get() gave you after that, or get it again';
    return this.refuse('ERR_NS_CONTAINER_LEFT', wanted, hint);
  }

  /** Nothing of this process keeps watching it, in its later runs neither, from when they are ready. */
  letGo(): void {
    this.#isLetGo = true;
    this.supervision[Symbol.dispose]();
    this.#unwatch();
    this.#onlookers.letGo(this.#run?.launched);
  }

  /** A run is ready: it is watched no more than the one in which it was let go. */
  stayLetGo(): void {
    if (this.#isLetGo) this.letGo();
  }

  /** @returns its run, when it has processes */
  alive(wanted: string): RunHandle {
    this.assertHeld(wanted);
    if (this.isAlive && this.#run && !this.#isEnding) return this.#run;
    throw this.refuse('ERR_NS_CONTAINER_NOT_RUNNING', wanted);
  }

  /** @returns its run, when its program runs */
  running(wanted: string): RunHandle {
    this.assertHeld(wanted);
    const { status } = this;
    if (status === 'running') return this.#run!;
    const code = status === 'paused' ? 'ERR_NS_CONTAINER_PAUSED' : 'ERR_NS_CONTAINER_NOT_RUNNING';
    throw this.refuse(code, wanted, status === 'created' ? 'Call start() first' : undefined);
  }

  /** What a command is run in. */
  execTarget(): ExecTarget {
    const wanted = 'run a command in it';
    const run = this.running(wanted);
    const { id, spec } = this;
    return {
      id,
      launched: run.launched,
      design: run.design,
      spec,
      cgroups: run.execCgroups,
      refusal: () => this.#refusal(run, wanted),
    };
  }

  /** Why something cannot be done with it as it is. */
  refuse(code: `ERR_NS_CONTAINER_${string}`, wanted: string, hint?: string): ContainerStateError {
    return refusal(this, code, { wanted, hint });
  }

  /** @throws ContainerStateError `ERR_NS_CONTAINER_NOT_OURS`: another process made it */
  assertOurs(wanted: string): void {
    if (this.isFound && this.status !== 'removed') throw this.refuse('ERR_NS_CONTAINER_NOT_OURS', wanted);
  }

  /** When a run ends, what fails fails because of that; we may not have heard of it yet. */
  #refusal({ launched }: RunHandle, wanted: string): ContainerStateError | undefined {
    if (this.#isLeft) return this.#leftBefore(wanted);
    if (!isEnding(launched)) return undefined;
    return refusal(this, 'ERR_NS_CONTAINER_NOT_RUNNING', { wanted, status: 'stopped' });
  }

  #endedInStart(): ContainerStateError {
    return this.refuse('ERR_NS_CONTAINER_STOPPED', 'start it: it was ended during its start');
  }

  async #startProgram(byItself: boolean): Promise<void> {
    if (this.isAlive && this.#isEnding) await this.#run?.result.catch(() => {});
    if (byItself && this.#record.rests) return;
    if (this.#status !== 'running' && this.#status !== 'paused') this.assertOurs('start it');
    if (this.status === 'removed') throw this.refuse('ERR_NS_CONTAINER_REMOVED', 'start it');
    if (this.#status === 'stopped') {
      // Its monitor, who had them meanwhile, is gone.
      if (isDetachable(this.spec)) await this.#resources.retake(this.spec);
      await this.#prepareAgain(byItself);
      // Stopped meanwhile, by a process that saw nothing run.
      if (byItself && this.#record.rests) return this.#endPrepared();
    }
    if (this.#status !== 'created') throw this.refuse('ERR_NS_CONTAINER_RUNNING', 'start it');
    const run = this.#run!;
    this.supervision.beginning();
    this.#begunAt = Date.now();
    this.#onlookers.starts(run.launched);
    if (isDetachable(this.spec)) this.#record.letGo();
    run.go();
    feedInput(run.streams, this.spec.stdin, (error) => {
      process.emitWarning(`the input of container ${this.id.slice(0, 12)} failed, it is ended: ${error}`, {
        code: 'NS_STDIN',
      });
      run.launched.kill();
    });
    try {
      await run.launched.executed;
    } catch {
      await run.result;
      throw this.#endedInStart();
    }
    // It may have run to its end by now.
    if (this.isAlive) this.setStatus('running');
    if (this.#record.isGone) await this.#endRemoved();
    this.events.emit({ type: 'start', pid: run.launched.pid! });
    if (this.isAlive) this.supervision.began();
    traceOnly('exit', this.trace, () => run.result);
  }

  async #prepareAgain(byItself: boolean): Promise<void> {
    try {
      this.#record.claimWrites();
      await this.requestedEnd.whilePreparing((unwanted) => this.#prepare({ unwanted }, byItself ? {} : asked));
      if (!this.#record.isGone) return;
    } catch (error) {
      if (!this.#record.isGone) throw await rollBack(error, () => this.#endPrepared());
    }
    await this.#endRemoved();
  }

  /** It could not be prepared to its end: what waits for its start by now never gets it. */
  async #endPrepared(): Promise<void> {
    await this.#endRun();
    this.#ended();
  }

  async #endRun(): Promise<void> {
    this.#run?.launched.kill();
    if (this.#run) await this.end(this.#run);
  }

  /** Somebody else has removed it while it was being started: he saw it stopped, and did not end what runs now. */
  async #endRemoved(): Promise<never> {
    this.#status = 'removed';
    await this.#endRun();
    this.#record.remove();
    await this.forget();
    throw this.refuse('ERR_NS_CONTAINER_REMOVED', 'start it');
  }

  async #prepare(beginning: Beginning, changes: StateChanges): Promise<void> {
    makeLogDirectory(this.spec);
    this.logs.reopen();
    const { id, logs } = this;
    const before = this.#run?.streams;
    // Whoever sits at it has not moved.
    const terminalSize = before instanceof TerminalStreams ? before.size : undefined;
    const context = { id, logs, maxOutputBytes: this.#maxOutputBytes, terminalSize };
    const run = await this.#resources.prepareRun(this.spec, context, beginning, this.#run);
    this.#run = run;
    liveNetworks.get(id)?.began(run.launched.pid!, (refused) => this.events.emit({ type: 'egress', ...refused }));
    this.#writeCreated(changes);
    this.#unwatch = watchContainerCgroup(run.cgroup, this.spec, (event) => this.events.emit(event));
    this.#follow(run);
    // With this process it goes, and all that was made for it; of one that may outlive us that would stay.
    if (!isDetachable(this.spec)) this.#onlookers.waits(run.launched);
  }

  #follow(run: RunHandle): void {
    this.#run = run;
    if (this.isFound) void run.ended.then(() => this.#run === run && this.#ended());
    run.result.then(
      (result) => {
        // One that another process has made may be at its next run by now.
        if (this.#run === run) this.#ended(result);
        this.events.emit({ type: 'exit', result });
        // By whomever, perhaps in another process: what is stopped or removed stays so.
        if (this.#record.rests) void this.supervision.holdBack();
        this.supervision.ended(result);
        // Nobody waits for it. Ids that cannot be given back now are free when this process has ended.
        if (this.#status === 'removed') this.forget().catch(() => {});
      },
      () => this.#run === run && this.#ended(),
    );
  }

  #ended(result?: Result): void {
    this.logs.end();
    if (!this.isFound) this.#record.releaseWrites();
    if (this.#status !== 'removed') this.setStatus('stopped', result);
  }

  #writeCreated(changes: StateChanges): void {
    const again = this.#status === 'stopped';
    this.#status = 'created';
    const now = { ...stateOfRun(this.id, this.#run, this.isAlive), status: this.#status };
    this.#init = now.init;
    if (!this.#record.change({ ...now, ...changes }) && !again)
      this.#record.write({ ...now, ending: undefined, ...asked });
  }
}

/** The user wants it to run, whoever has stopped it before. */
const asked = { stopRequested: false } as const;
