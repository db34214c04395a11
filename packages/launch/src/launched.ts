import type { Readable, Writable } from 'node:stream';
import {
  allocate,
  ERRNO,
  type EventWatch,
  type FdWatch,
  type OwnedFd,
  pidfdOpen,
  SpecError,
  SYS,
  SyscallError,
  syscall,
  watchFd,
} from '@ns/libc';
import { Continuation } from './continuation.ts';
import { ContinuationImage } from './continuation-image.ts';
import { Deferred } from './deferred.ts';
import type { Exit } from './exit.ts';
import { describeFailure, type LaunchedSteps } from './explain.ts';
import type { Inheritance, Started } from './inheritance.ts';
import { disposeLater } from './late-disposal.ts';
import { reapLater } from './late-reaping.ts';
import { holdMountNamespace, unmountLater } from './late-unmount.ts';
import { LaunchFacts } from './launch-facts.ts';
import type { Step } from './lowering.ts';
import { PreparedProgram } from './prepared-program.ts';
import { ReapedChild } from './reaped-child.ts';
import { receiveRecord } from './receive-record.ts';
import { decodeUsage, type StageRecord } from './records.ts';
import { controlSignals, SIGNALS } from './signals.ts';
import type { StandardStreams } from './standard-streams.ts';
import { type NamespaceKind, namespaceFlags } from './steps/process.ts';
import { decodeWaitStatus } from './wait-status.ts';
import { whenEnded } from './when-ended.ts';

/** What was launched: failures are explained from it. */
export interface Origin extends LaunchedSteps {
  /** The steps as this launch had them, where `steps` are those of another with other names. */
  readonly asLaunched?: () => readonly Step[];
}

/** A process that was started by {@link launch}. */
export class Launched {
  /** The standard streams. */
  readonly streams: StandardStreams;

  /** The first process, when it exists; the caller's pid namespace. */
  pid: number | undefined;
  /** Refers to the first process, also after its pid was given to another. */
  pidfd: OwnedFd | undefined;

  /** Undefined until it is there, which is told where the zygote makes it. */
  #monitor: ReapedChild | undefined;
  #takePid: Started['takePid'];
  /** What the process needs to be started: kept until it exists. */
  #inheritance: Inheritance | undefined;
  #status: OwnedFd;
  #watch: EventWatch;
  #endWatch: FdWatch | undefined;
  #origin: Origin;
  readonly #supervised: boolean;
  readonly #unmountLate: boolean;
  readonly #hasInit: boolean;
  readonly #facts = new LaunchFacts();
  readonly #exited = new Deferred<Exit>();
  readonly #namespaces = new Map<NamespaceKind, OwnedFd>();
  readonly #early: (() => void)[] = [];
  #goWord = goWord;
  #continuation: Continuation | undefined;
  #mounts: OwnedFd | undefined;
  #failure: SyscallError | undefined;
  #timedOut = false;
  #payloadStatus: number | undefined;
  #exitRecord: StageRecord | undefined;
  /** What the init said of an end after which nothing but itself was left. */
  #lastEnd: StageRecord | undefined;
  /** The first process has ended. */
  #isEnding = false;
  /** And it is the kernel that says so. */
  #firstHasEnded = false;
  #hearsAll = true;
  #gone = false;

  /** @param inheritance - ours from now on */
  constructor(
    { takePid, status }: Started,
    inheritance: Inheritance,
    streams: StandardStreams,
    origin: Origin,
    { unmountLate = false }: { unmountLate?: boolean } = {},
  ) {
    this.#inheritance = inheritance;
    this.#unmountLate = unmountLate;
    this.#status = status;
    this.#origin = origin;
    const clone = origin.steps.find((step) => step.op === 'clone');
    this.#supervised = clone !== undefined;
    this.#hasInit = clone?.child.some(({ op }) => op === 'clone') ?? false;
    this.streams = streams;
    this.#takePid = takePid;
    this.#findMonitor();
    this.#watch = this.#watchStatus();
  }

  /**
   * Pid of the monitor, in the caller's pid namespace; of the program itself when no step starts another process. It may
   * have to be waited for, some microseconds. 0 when no process could be made.
   */
  get monitorPid(): number {
    return this.#awaitMonitor().pid;
  }

  /** Settles when the first process exists: its pid as the caller sees it. */
  get started(): Promise<number> {
    return this.#asked(this.#facts.started);
  }

  /** Settles at a `park` step. */
  get ready(): Promise<void> {
    return this.#asked(this.#facts.ready);
  }

  /** Settles when the program has replaced the stage; under a monitor without an init, which cannot tell, at the end. */
  get executed(): Promise<void> {
    return this.#asked(this.#facts.executed);
  }

  /**
   * Settles when monitor and process are gone; under an init that tells the end (`tellEnd`) the monitor may be some
   * microseconds from it. Never rejects: a failed setup is in {@link Exit.failure}.
   */
  get exited(): Promise<Exit> {
    return this.#exited.promise;
  }

  /**
   * Settles when the program has ended. Under an init that adopts, other processes of it may be there, and have to be ended
   * by whoever waits for `exited`.
   */
  get payloadEnded(): Promise<void> {
    return this.#asked(this.#facts.payloadEnded);
  }

  /** Notification descriptor of a seccomp filter with a listener. */
  get seccompListener(): Promise<OwnedFd> {
    return this.#asked(this.#facts.listener);
  }

  /** The controlling side of the pseudoterminal of a `terminal` step. */
  get terminal(): Promise<OwnedFd> {
    return this.#asked(this.#facts.terminal);
  }

  /** A detached mount of the scratch, with `handOver`. */
  get scratch(): Promise<OwnedFd> {
    return this.#asked(this.#facts.scratch);
  }

  get stdin(): Writable | null {
    return this.streams.stdin;
  }

  get stdout(): Readable | null {
    return this.streams.stdout;
  }

  get stderr(): Readable | null {
    return this.streams.stderr;
  }

  /** What a `handOverNamespaces` step gave; theirs until the process has ended. */
  get namespaces(): ReadonlyMap<NamespaceKind, OwnedFd> {
    return this.#namespaces;
  }

  /**
   * Tells a process at a `receiveSteps` step what to do. The steps refer to the descriptors of the launch; prepared ones
   * may have variables, as in a launch.
   *
   * @throws SpecError for a program that was prepared for another number of extra descriptors, or for other variables
   * @throws SyscallError `EPIPE` when the process is gone
   */
  continueWith(steps: readonly Step[] | PreparedProgram, variables: readonly string[] = []): void {
    this.prepareToContinue();
    if (!this.alive) throw new SyscallError('sendmsg', ERRNO.EPIPE);
    const { layout } = this.#origin;
    if (steps instanceof PreparedProgram) {
      if (!steps.isFor(layout))
        throw new SpecError('steps', 'a program prepared for the descriptors of the launch', steps.layout);
      this.#continuation!.send(steps.continuation.with(variables));
      this.#origin = { steps: steps.steps, layout, variables: [], asLaunched: () => steps.stepsFor(variables) };
    } else {
      this.#continuation!.send(new ContinuationImage(steps, layout).with([]));
      this.#origin = { steps, layout, variables: [] };
    }
  }

  /**
   * Does of {@link continueWith} what does not need the steps, so that they are on their way sooner. Idempotent.
   *
   * @throws SyscallError `EPIPE` when the process is gone
   */
  prepareToContinue(): void {
    if (this.#status.closed) throw new SyscallError('sendmsg', ERRNO.EPIPE);
    this.#continuation ??= new Continuation(this.#status);
  }

  /** Does it keep the event loop alive? It does from the start. */
  ref(): void {
    this.#watch.ref();
    this.streams.ref();
  }

  unref(): void {
    this.#watch.unref();
    this.streams.unref();
  }

  /** Lets a parked process go on, or tells a restorer whom to look after. */
  go(): void {
    // When it is gone without our knowing yet, exited will tell.
    if (!this.#status.closed) syscall(SYS.write, this.#status.fd, this.#goWord.address, this.#goWord.bytes.length);
  }

  /**
   * Says which process it was that CRIU restored under a `restorer`: the first process from now on. The restorer hears of
   * it by {@link go}.
   *
   * @param process - as the caller sees it; the pidfd is ours from now on
   * @param pidThere - its pid as the restorer sees it
   */
  restored({ pid, pidfd }: { pid: number; pidfd: OwnedFd }, pidThere: number): void {
    this.#endWatch?.close();
    this.#endWatch = undefined;
    this.pidfd?.close();
    this.pid = pid;
    this.pidfd = pidfd;
    this.#goWord = allocate(8);
    this.#goWord.bytes.writeBigInt64LE(BigInt(pidThere));
  }

  /**
   * Sends a signal, through init to the program. Returns false when the process is gone.
   *
   * @throws SpecError for a name that is no signal's
   */
  signal(signal: NodeJS.Signals): boolean {
    if (!Object.hasOwn(SIGNALS, signal)) throw new SpecError('signal', "a signal name such as 'SIGTERM'", signal);
    const monitor = this.#awaitMonitor();
    // Not reaped yet, its pid is still its own.
    if (this.#gone || monitor.end) return false;
    return syscall(SYS.kill, monitor.pid, (this.#supervised && controlSignals[signal]) || SIGNALS[signal]) === 0;
  }

  /** Does the process exist? The kernel is asked, which knows before we have heard of it. */
  get alive(): boolean {
    return !this.#gone && !this.#monitor?.hasEnded();
  }

  /** Ends the process and, where it is pid 1 of a pid namespace, everything in it. */
  kill(): boolean {
    return this.signal('SIGKILL');
  }

  #awaitMonitor(): ReapedChild {
    while (!this.#findMonitor()) {
      hangUp.bytes.writeInt32LE(this.#status.fd, 0);
      const hasEnded = syscall(SYS.ppoll, hangUp.address, 1, soon.address, 0, 0) > 0;
      if (hasEnded && !this.#findMonitor()) this.#spawnAfterAll();
    }
    return this.#monitor!;
  }

  /** What the zygote made is in our table before it does anything. */
  #findMonitor(): boolean {
    const pid = this.#monitor ? undefined : this.#takePid();
    if (pid !== undefined) this.#spawned(pid);
    return this.#monitor !== undefined;
  }

  #watchStatus(): EventWatch {
    this.#hearsAll = true;
    return watchFd(this.#status.fd, { readable: true }, () => this.#drain());
  }

  #spawned(pid: number, monitor = new ReapedChild(pid)): void {
    this.#monitor = monitor;
    this.#inheritance?.[Symbol.dispose]();
    this.#inheritance = undefined;
    if (this.#supervised) return;
    this.pid = pid;
    this.#facts.started.resolve(pid);
  }

  /** The zygote ended, or could not make the process: now it is our turn, and what hinders us is the reason. */
  #spawnAfterAll(): void {
    this.#watch.close();
    this.#status.close();
    try {
      const { takePid, status } = this.#inheritance!.spawn();
      this.#status = status;
      this.#takePid = takePid;
      this.#findMonitor();
      this.#watch = this.#watchStatus();
    } catch (error) {
      this.#failure = error as SyscallError;
      this.#gone = true;
      this.#spawned(0, new ReapedChild(0, { status: 125 << 8, usage: decodeUsage(Buffer.alloc(144)) }));
      // Whoever asks for the pid now shall not find everything settled in the same breath.
      process.nextTick(() => this.#settle());
    }
  }

  #asked<T>(fact: Deferred<T>): Promise<T> {
    const { promise } = fact;
    this.#listen();
    return promise;
  }

  /**
   * Each message wakes us, mostly on the CPU that the program has just begun to run on. So from the moment on that nobody
   * waits for one, we only listen for the end, where we read them all.
   */
  #listen(): void {
    if (this.#gone || this.#status.closed) return;
    const hearsAll = this.pid === undefined || this.#facts.awaited;
    if (hearsAll === this.#hearsAll) return;
    this.#hearsAll = hearsAll;
    this.#watch.change(hearsAll ? { readable: true } : { disconnect: true });
    if (!hearsAll && this.pidfd) this.#watchFirstProcess(this.pidfd);
  }

  /** When it has ended all has, but for the monitor, which ends while we are on our way. */
  #watchFirstProcess({ fd }: OwnedFd): void {
    this.#endWatch ??= watchFd(fd, { readable: true }, () => {
      this.#isEnding = true;
      this.#firstHasEnded = true;
      this.#drain();
      if (!this.#gone) this.#endWatch?.close();
    });
    this.#endWatch.unref();
  }

  #drain(): void {
    if (this.#gone) return;
    this.#receiveAll();
    this.#listen();
  }

  #receiveAll(): void {
    for (let hasEnded = false; ; ) {
      const message = receiveRecord(this.#status.fd);
      if (message && !this.#findMonitor()) {
        this.#spawnAfterAll();
        return;
      }
      if (message && message !== 'end') {
        if (message.record) this.#handle(message.record, message.fd);
        else message.fd?.close();
        if (this.#firstHasEnded && this.#lastEnd) {
          this.#endWithoutMonitor();
          return;
        }
      } else if (message || hasEnded) {
        this.#watch.close();
        this.#endWatch?.close();
        this.#status.close();
        this.#reap();
        return;
      } else {
        hasEnded = this.#isEnding && this.#monitor!.endsAtOnce();
        if (!hasEnded) return;
      }
    }
  }

  #handle(record: StageRecord, fd: OwnedFd | undefined): void {
    switch (record.kind) {
      case 'failure':
        this.#failure = this.#describeFailure(record);
        break;
      case 'started':
        this.pid = record.value;
        this.pidfd = fd;
        if (this.#unmountLate) this.#mounts = holdMountNamespace(record.value, fd);
        this.#facts.started.resolve(record.value);
        for (const resolve of this.#early.splice(0)) resolve();
        return;
      case 'ready':
        this.#onceStarted(() => this.#facts.ready.resolve());
        break;
      case 'executing':
        if (!this.#failure) this.#onceStarted(() => this.#facts.executed.resolve());
        break;
      case 'timeout':
        this.#timedOut = true;
        break;
      case 'payloadExit':
        this.#payloadStatus = record.value;
        if (record.usage) this.#lastEnd = record;
        this.#facts.payloadEnded.resolve();
        break;
      case 'exit':
        this.#exitRecord = record;
        this.#isEnding = true;
        break;
      case 'seccompListener':
        if (fd) this.#facts.listener.resolve(fd);
        return;
      case 'terminal':
        if (fd) this.#facts.terminal.resolve(fd);
        return;
      case 'namespace':
        if (fd) this.#namespaces.set(kindOfFlag.get(record.value)!, fd);
        return;
      case 'scratch':
        if (fd) this.#facts.scratch.resolve(fd);
        return;
    }
    fd?.close();
  }

  #describeFailure({ index, value }: StageRecord): SyscallError {
    const { asLaunched } = this.#origin;
    const steps = asLaunched?.() ?? this.#origin.steps;
    return describeFailure({ ...this.#origin, steps }, index, value);
  }

  /** A child may speak before its monitor has said that there is one; nobody shall hear of it before. */
  #onceStarted(resolve: () => void): void {
    if (this.pid === undefined) this.#early.push(resolve);
    else resolve();
  }

  /** The first process has ended and nothing was left: the monitor would tell nothing else, and is on its way out. */
  #endWithoutMonitor(): void {
    this.#gone = true;
    const open = [this.#watch, this.#endWatch, this.#status, this.pidfd];
    disposeLater(...open.filter((resource) => resource !== undefined));
    this.pidfd = undefined;
    reapLater(this.#monitor!);
    this.#settle();
  }

  /** The status socket has ended: nobody of ours holds it any more. */
  #reap(): void {
    if (!this.#supervised && !this.#failure) this.#facts.executed.resolve();
    const monitor = this.#monitor!;
    if (monitor.hasEnded()) this.#awaitFirstProcess();
    // It is on its way out, and the rest of that way takes microseconds: a pidfd to wait for it takes longer to set up.
    else setImmediate(() => (monitor.hasEnded() ? this.#awaitFirstProcess() : this.#watchMonitor(monitor)));
  }

  #watchMonitor(monitor: ReapedChild): void {
    whenEnded(pidfdOpen(monitor.pid), () => {
      monitor.hasEnded();
      this.#awaitFirstProcess();
    });
  }

  /** The kernel ends the container's first process when its monitor was killed, but not at the same instant. */
  #awaitFirstProcess(): void {
    this.#gone = true;
    if (this.#exitRecord || !this.pidfd) this.#settle();
    else whenEnded(this.pidfd.duplicate(), () => this.#settle());
  }

  #settle(): void {
    if (this.#continuation) disposeLater(this.#continuation);
    // A monitor that reported nothing was killed, and took its child with it.
    const status = this.#payloadStatus ?? this.#exitRecord?.value ?? this.#monitor?.end?.status ?? SIGNALS.SIGKILL;
    const exit: Exit = {
      ...decodeWaitStatus(status),
      timedOut: this.#timedOut,
      failure: this.#failure,
      usage: (this.#supervised ? (this.#lastEnd ?? this.#exitRecord) : this.#monitor?.end)?.usage,
    };
    this.pidfd?.close();
    for (const fd of this.#namespaces.values()) fd.close();
    if (this.#mounts) unmountLater(this.#mounts);
    this.streams.processEnded();
    if (this.#exitRecord && !this.#failure && !this.#hasInit) this.#facts.executed.resolve();
    this.#facts.end(
      () => this.#failure ?? new SyscallError('wait4', ERRNO.ECHILD, { doing: 'process ended during its setup' }),
    );
    this.#exited.resolve(exit);
  }
}

/** struct pollfd: no events but the end, of which the kernel always tells. */
const hangUp = allocate(8);
/** struct timespec: longer than a zygote takes to make a process. */
const soon = allocate(16);
soon.bytes.writeBigInt64LE(50_000n, 8);

/** What a parked process waits for: one byte of any value. */
const goWord = allocate(1);

const kindOfFlag = new Map(Object.entries(namespaceFlags).map(([kind, flag]) => [flag, kind as NamespaceKind]));
