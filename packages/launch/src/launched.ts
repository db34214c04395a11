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
import { Deferred } from './deferred.ts';
import type { Exit } from './exit.ts';
import { happensAtOnce } from './happens-at-once.ts';
import type { Inheritance } from './inheritance.ts';
import { disposeLater } from './late-disposal.ts';
import { reapLater } from './late-reaping.ts';
import { LaunchReport, type Origin } from './launch-report.ts';
import type { Step } from './lowering.ts';
import type { PreparedProgram } from './prepared-program.ts';
import type { ReapedChild } from './reaped-child.ts';
import { receiveRecord } from './receive-record.ts';
import { controlSignals, SIGNAL_TIME_BEGINS, SIGNALS } from './signals.ts';
import type { StandardStreams } from './standard-streams.ts';
import { StartedProcess } from './started-process.ts';
import type { NamespaceKind } from './steps/process.ts';
import { hasEnded, whenEnded } from './when-ended.ts';

/** A process that was started by {@link launch}. */
export class Launched {
  /** The standard streams. */
  readonly streams: StandardStreams;

  #started: StartedProcess;
  /** What the process needs to be started: kept until it exists. */
  #inheritance: Inheritance | undefined;
  #watch: EventWatch;
  #endWatch: FdWatch | undefined;
  readonly #report: LaunchReport;
  readonly #exited = new Deferred<Exit>();
  #goWord = goWord;
  #continuation: Continuation | undefined;
  /** The kernel says that the first process has ended. */
  #firstHasEnded = false;
  #hearsAll = true;
  #gone = false;

  /** @param inheritance - ours from now on */
  constructor(
    started: StartedProcess,
    inheritance: Inheritance,
    streams: StandardStreams,
    origin: Origin,
    options: { unmountLate?: boolean } = {},
  ) {
    this.#started = started;
    this.#inheritance = inheritance;
    this.#report = new LaunchReport(origin, options);
    this.streams = streams;
    this.#findMonitor();
    this.#watch = this.#watchStatus();
    if (this.#report.tellsEnd) void streams.collected.then(() => this.#outputsEnded());
  }

  /** The first process, when it exists; the caller's pid namespace. */
  get pid(): number | undefined {
    return this.#report.pid;
  }

  /** Refers to the first process, also after its pid was given to another. */
  get pidfd(): OwnedFd | undefined {
    return this.#report.pidfd;
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
    return this.#asked(this.#report.facts.started);
  }

  /** Settles at a `park` step. */
  get ready(): Promise<void> {
    return this.#asked(this.#report.facts.ready);
  }

  /** Settles when the program has replaced the stage; under a monitor without an init, which cannot tell, at the end. */
  get executed(): Promise<void> {
    return this.#asked(this.#report.facts.executed);
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
    return this.#asked(this.#report.facts.payloadEnded);
  }

  /** Notification descriptor of a seccomp filter with a listener. */
  get seccompListener(): Promise<OwnedFd> {
    return this.#asked(this.#report.facts.listener);
  }

  /** The controlling side of the pseudoterminal of a `terminal` step. */
  get terminal(): Promise<OwnedFd> {
    return this.#asked(this.#report.facts.terminal);
  }

  /** A detached mount of the scratch, with `handOver`. */
  get scratch(): Promise<OwnedFd> {
    return this.#asked(this.#report.facts.scratch);
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
    return this.#report.namespaces;
  }

  /**
   * Tells a process at a `receiveSteps` step what to do. The steps refer to the descriptors of the launch; prepared ones
   * may have variables, as in a launch.
   *
   * @throws SpecError for a program that was prepared for another number of extra descriptors, or for other variables
   * @throws SyscallError `EPIPE` when the process is gone
   */
  continueWith(steps: readonly Step[] | PreparedProgram, variables: readonly string[] = []): void {
    const continuation = this.#openContinuation();
    // Before it is told: what it is the child of may be gone, and its own end not have come yet.
    if (!this.alive) throw new SyscallError('sendmsg', ERRNO.EPIPE);
    this.#report.origin = continuation.instruct(steps, variables);
    continuation.tell();
  }

  /**
   * Does of {@link continueWith} what can be done before it is known what the process is to do, so that it begins sooner.
   *
   * @param likely - what it probably will be: then nothing is left to do but to say so
   * @throws as `continueWith`
   */
  prepareToContinue(likely?: PreparedProgram, variables: readonly string[] = []): void {
    const continuation = this.#openContinuation();
    // What fails until it is told is explained by what it does until then.
    if (likely) continuation.prepare(likely, variables);
  }

  #openContinuation(): Continuation {
    const { status } = this.#started;
    if (status.closed) throw new SyscallError('sendmsg', ERRNO.EPIPE);
    this.#continuation ??= new Continuation(status, this.#report.origin.layout);
    return this.#continuation;
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

  /** Lets a parked process go on, whose time begins now, or tells a restorer whom to look after. */
  go(): void {
    const { status } = this.#started;
    if (this.#report.isTimedFromGo) this.#signalMonitor(SIGNAL_TIME_BEGINS);
    // When it is gone without our knowing yet, exited will tell.
    if (!status.closed) syscall(SYS.write, status.fd, this.#goWord.address, this.#goWord.bytes.length);
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
    this.#report.pidfd?.close();
    this.#report.pid = pid;
    this.#report.pidfd = pidfd;
    this.#goWord = allocate(8);
    this.#goWord.bytes.writeBigInt64LE(BigInt(pidThere));
  }

  /**
   * Sends a signal, through init to the program. Returns false when the process is gone.
   *
   * @throws SpecError for a name that is no signal's
   */
  signal(signal: NodeJS.Signals): boolean {
    if (typeof signal !== 'string' || !Object.hasOwn(SIGNALS, signal))
      throw new SpecError('signal', "a signal name such as 'SIGTERM'", signal);
    const { supervised } = this.#report;
    return this.#signalMonitor((supervised && controlSignals[signal]) || SIGNALS[signal]);
  }

  #signalMonitor(number: number): boolean {
    const monitor = this.#awaitMonitor();
    // Not reaped yet, its pid is still its own.
    if (this.#gone || monitor.end) return false;
    return syscall(SYS.kill, monitor.pid, number) === 0;
  }

  /** Does the process exist? The kernel is asked, which knows before we have heard of it. */
  get alive(): boolean {
    return !this.#gone && !this.#findMonitor()?.hasEnded();
  }

  /** Ends the process and, where it is pid 1 of a pid namespace, everything in it. */
  kill(): boolean {
    return this.signal('SIGKILL');
  }

  /** The same because of what the caller could not do for its start: that is why it failed, unless a step of it did. */
  giveUp(failure: SyscallError): void {
    if (!this.#gone) this.#report.failure ??= failure;
    this.kill();
  }

  #awaitMonitor(): ReapedChild {
    for (;;) {
      const monitor = this.#findMonitor();
      if (monitor) return monitor;
      if (this.#started.waitForEnd() && !this.#findMonitor()) this.#spawnAfterAll();
    }
  }

  #findMonitor(): ReapedChild | undefined {
    const monitor = this.#started.find();
    if (monitor && this.#inheritance) {
      this.#inheritance[Symbol.dispose]();
      this.#inheritance = undefined;
      if (!this.#report.supervised) this.#report.startedAs(monitor.pid);
    }
    return monitor;
  }

  #watchStatus(): EventWatch {
    this.#hearsAll = true;
    return watchFd(this.#started.status.fd, { readable: true }, () => this.#drain());
  }

  /** The zygote ended, or could not make the process: now it is our turn, and what hinders us is the reason. */
  #spawnAfterAll(): void {
    this.#watch.close();
    this.#started.status.close();
    try {
      this.#started = this.#inheritance!.spawn();
      this.#findMonitor();
      this.#watch = this.#watchStatus();
    } catch (error) {
      this.#report.failure = error as SyscallError;
      this.#gone = true;
      this.#started = StartedProcess.impossible(this.#started.status);
      this.#findMonitor();
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
    if (this.#gone || this.#started.status.closed) return;
    const { pid, pidfd, facts } = this.#report;
    const hearsAll = pid === undefined || facts.awaited;
    if (hearsAll === this.#hearsAll) return;
    this.#hearsAll = hearsAll;
    this.#watch.change(hearsAll ? { readable: true } : { disconnect: true });
    if (!hearsAll && pidfd) this.#watchFirstProcess(pidfd);
  }

  /** When it has ended all has, but for the monitor, which ends while we are on our way. */
  #watchFirstProcess({ fd }: OwnedFd): void {
    this.#endWatch ??= watchFd(fd, { readable: true }, () => {
      this.#firstHasEnded = true;
      this.#drain();
      if (!this.#gone) this.#endWatch?.close();
    });
    this.#endWatch.unref();
  }

  /** With the program, most likely: then its init is some microseconds from its own end. */
  #outputsEnded(): void {
    const { pidfd } = this.#report;
    if (this.#gone || this.#started.status.closed || !pidfd) return;
    this.#firstHasEnded = happensAtOnce(() => hasEnded(pidfd));
    if (this.#firstHasEnded) this.#drain();
  }

  #drain(): void {
    if (this.#gone) return;
    this.#receiveAll();
    this.#listen();
  }

  #receiveAll(): void {
    const report = this.#report;
    for (let hasEnded = false; ; ) {
      const message = receiveRecord(this.#started.status.fd);
      if (message && !this.#findMonitor()) {
        this.#spawnAfterAll();
        return;
      }
      if (message && message !== 'end') {
        if (message.record) report.receive(message.record, message.fd);
        else message.fd?.close();
        if (this.#firstHasEnded && report.lastEnd) {
          this.#endWithoutMonitor();
          return;
        }
      } else if (message || hasEnded) {
        this.#watch.close();
        this.#endWatch?.close();
        this.#started.status.close();
        this.#reap();
        return;
      } else {
        hasEnded = (this.#firstHasEnded || report.exitRecord !== undefined) && this.#awaitMonitor().endsAtOnce();
        if (!hasEnded) return;
      }
    }
  }

  /** The first process has ended and nothing was left: the monitor would tell nothing else, and is on its way out. */
  #endWithoutMonitor(): void {
    this.#gone = true;
    const open = [this.#watch, this.#endWatch, this.#started.status, this.#report.pidfd];
    disposeLater(...open.filter((resource) => resource !== undefined));
    this.#report.pidfd = undefined;
    reapLater(this.#awaitMonitor());
    this.#settle();
  }

  /** The status socket has ended: nobody of ours holds it any more. */
  #reap(): void {
    this.#report.statusEnded();
    const monitor = this.#awaitMonitor();
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
    const { exitRecord, pidfd } = this.#report;
    if (exitRecord || !pidfd) this.#settle();
    else whenEnded(pidfd.duplicate(), () => this.#settle());
  }

  #settle(): void {
    if (this.#continuation) disposeLater(this.#continuation);
    this.streams.processEnded();
    this.#exited.resolve(this.#report.end(this.#started.find()?.end));
  }
}

/** What a parked process waits for: one byte of any value. */
const goWord = allocate(1);
