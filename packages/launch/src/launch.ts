import type { Readable, Writable } from 'node:stream';
import {
  allocate,
  ERRNO,
  type FdWatch,
  memfd,
  type OwnedFd,
  pidfdOpen,
  ResourceStack,
  receive,
  SOCK,
  SYS,
  SyscallError,
  sendDescriptor,
  socketPair,
  syscall,
  WNOHANG,
  watchFd,
} from '@ns/libc';
import { describeFailure } from './explain.ts';
import { type FdLayout, Lowering, type Step } from './lowering.ts';
import { posixSpawn } from './posix-spawn.ts';
import { decodeRecord, decodeUsage, RECORD_SIZE, type ResourceUsage, type StageRecord } from './records.ts';
import { SIGNAL_KILL_CHILD, SIGNAL_STOP_CHILD, SIGNALS, signalName } from './signals.ts';
import { stageImage } from './stage-image.ts';
import { StandardStreams, type Stdio } from './standard-streams.ts';
import { type NamespaceKind, namespaceFlags } from './steps/process.ts';

/** What {@link launch} needs. */
export interface LaunchOptions {
  /** What the new process does, from its first instruction to `exec`. */
  readonly steps: readonly Step[];
  /** stdin, stdout, stderr. Default: null, pipe, pipe. */
  readonly stdio?: readonly [Stdio, Stdio, Stdio] | StandardStreams;
  /** Descriptors that the payload finds as 3, 4, … They stay the caller's. */
  readonly extraFds?: readonly number[];
  /** Descriptors that steps refer to by name. They stay the caller's. */
  readonly fds?: Readonly<Record<string, number>>;
}

/** How a launched process ended. */
export interface Exit {
  /** 0–255, or null when a signal ended it. */
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** It was ended because its time was up. */
  readonly timedOut: boolean;
  /** The step that failed: the program never ran. */
  readonly failure: SyscallError | undefined;
  /** Of the process and all descendants that were waited for. */
  readonly usage: ResourceUsage | undefined;
}

/**
 * Starts a process from a list of steps. Returns as soon as the process exists, which takes well under a millisecond;
 * what happens in it is told by the promises and streams of the result.
 *
 * Nothing of the caller leaks into the process but what is named: environment, descriptors, signal dispositions and
 * mask, and session are fresh.
 *
 * @throws SyscallError when no process can be made; what happens later, {@link Launched.exited} reports
 */
export function launch(options: LaunchOptions): Launched {
  const { steps, stdio = ['null', 'pipe', 'pipe'], extraFds = [], fds = {} } = options;
  const layout: FdLayout = { extra: extraFds.length, named: Object.keys(fds) };
  const lowering = new Lowering(layout);
  lowering.lower(steps);
  const program = lowering.finish();

  using owned = new ResourceStack();
  const programFd = owned.use(memfd('ns-program', program.bytes));
  const [status, stageStatus] = socketPair(SOCK.SEQPACKET);
  owned.use(stageStatus);
  using rollback = new ResourceStack();
  rollback.use(status);
  const streams = stdio instanceof StandardStreams ? stdio : new StandardStreams(stdio);
  owned.defer(() => streams.closeInherited());
  if (streams !== stdio) rollback.defer(() => streams.destroy());

  const inherited = [...streams.inherited, programFd.fd, ...extraFds, stageStatus.fd, ...Object.values(fds)];
  const pid = posixSpawn(stageImage().fd, 'ns-init', inherited);
  rollback.release();
  return new Launched(pid, status, streams, { steps, layout });
}

interface Origin {
  readonly steps: readonly Step[];
  readonly layout: FdLayout;
}

/** A process that was started by {@link launch}. */
export class Launched {
  /** Pid of the monitor, in the caller's pid namespace; of the program itself when no step starts another process. */
  readonly monitorPid: number;
  /** The standard streams. */
  readonly streams: StandardStreams;
  /** Settles when the first process exists: its pid as the caller sees it. */
  readonly started: Promise<number>;
  /** Settles at a `park` step. */
  readonly ready: Promise<void>;
  /** Settles when the program has replaced the stage; under a monitor without an init, which cannot tell, at the end. */
  readonly executed: Promise<void>;
  /** Settles when monitor and process are gone. Never rejects: a failed setup is in {@link Exit.failure}. */
  readonly exited: Promise<Exit>;
  /** Notification descriptor of a seccomp filter with a listener. */
  readonly seccompListener: Promise<OwnedFd>;
  /** The controlling side of the pseudoterminal of a `terminal` step. */
  readonly terminal: Promise<OwnedFd>;
  /** A detached mount of the scratch, with `handOver`. */
  readonly scratch: Promise<OwnedFd>;

  /** The first process, when it exists; the caller's pid namespace. */
  pid: number | undefined;
  /** Refers to the first process, also after its pid was given to another. */
  pidfd: OwnedFd | undefined;

  readonly #status: OwnedFd;
  readonly #watch: FdWatch;
  #origin: Origin;
  readonly #supervised: boolean;
  readonly #hasInit: boolean;
  readonly #started = deferred<number>();
  readonly #ready = deferred<void>();
  readonly #executed = deferred<void>();
  readonly #exited = deferred<Exit>();
  readonly #listener = deferred<OwnedFd>();
  readonly #terminal = deferred<OwnedFd>();
  readonly #scratch = deferred<OwnedFd>();
  readonly #namespaces = new Map<NamespaceKind, OwnedFd>();
  #failure: SyscallError | undefined;
  #timedOut = false;
  #payloadStatus: number | undefined;
  #exitRecord: StageRecord | undefined;
  #monitorEnd: { readonly status: number; readonly usage: ResourceUsage } | undefined;
  #gone = false;

  constructor(pid: number, status: OwnedFd, streams: StandardStreams, origin: Origin) {
    this.monitorPid = pid;
    this.#status = status;
    this.#origin = origin;
    const clone = origin.steps.find((step) => step.op === 'clone');
    this.#supervised = clone !== undefined;
    this.#hasInit = clone?.child.some(({ op }) => op === 'clone') ?? false;
    this.streams = streams;
    this.started = this.#started.promise;
    this.ready = this.#ready.promise;
    this.executed = this.#executed.promise;
    this.exited = this.#exited.promise;
    this.seccompListener = this.#listener.promise;
    this.terminal = this.#terminal.promise;
    this.scratch = this.#scratch.promise;
    if (!this.#supervised) {
      this.pid = pid;
      this.#started.resolve(pid);
    }
    this.#watch = watchFd(status.fd, { readable: true }, () => this.#drain());
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
   * Tells a process at a `receiveSteps` step what to do. The steps refer to the descriptors of the launch.
   *
   * @throws SyscallError `EPIPE` when the process is gone
   */
  continueWith(steps: readonly Step[]): void {
    const { layout } = this.#origin;
    const lowering = new Lowering(layout);
    lowering.lower(steps);
    using program = memfd('ns-program', lowering.finish().bytes);
    sendDescriptor(this.#status.fd, Buffer.from('.'), program.fd);
    this.#origin = { steps, layout };
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

  /** Lets a parked process go on. */
  go(): void {
    // When it is gone without our knowing yet, exited will tell.
    if (!this.#status.closed) syscall(SYS.write, this.#status.fd, goWord.address, 1);
  }

  /** Sends a signal, through init to the program. Returns false when the process is gone. */
  signal(signal: NodeJS.Signals): boolean {
    if (this.#gone) return false;
    // We have not waited for the monitor yet, so the pid is still its own.
    return syscall(SYS.kill, this.monitorPid, (this.#supervised && controlSignals[signal]) || SIGNALS[signal]) === 0;
  }

  /** Ends the process and, where it is pid 1 of a pid namespace, everything in it. */
  kill(): boolean {
    return this.signal('SIGKILL');
  }

  #drain(): void {
    for (;;) {
      const message = receive(this.#status.fd, RECORD_SIZE, 1);
      if (!message) return;
      if (message.bytes.length === 0) {
        this.#watch.close();
        this.#status.close();
        this.#reap();
        return;
      }
      const record = decodeRecord(message.bytes);
      if (record) this.#handle(record, message.fds[0]);
    }
  }

  #handle(record: StageRecord, fd: OwnedFd | undefined): void {
    switch (record.kind) {
      case 'failure':
        this.#failure = describeFailure(this.#origin.steps, this.#origin.layout, record.index, record.value);
        break;
      case 'started':
        this.pid = record.value;
        this.pidfd = fd;
        this.#started.resolve(record.value);
        return;
      case 'ready':
        this.#ready.resolve();
        break;
      case 'executing':
        if (!this.#failure) this.#executed.resolve();
        break;
      case 'timeout':
        this.#timedOut = true;
        break;
      case 'payloadExit':
        this.#payloadStatus = record.value;
        break;
      case 'exit':
        this.#exitRecord = record;
        break;
      case 'seccompListener':
        if (fd) this.#listener.resolve(fd);
        return;
      case 'terminal':
        if (fd) this.#terminal.resolve(fd);
        return;
      case 'namespace':
        if (fd) this.#namespaces.set(kindOfFlag.get(record.value)!, fd);
        return;
      case 'scratch':
        if (fd) this.#scratch.resolve(fd);
        return;
    }
    fd?.close();
  }

  /** The status socket has ended: nobody of ours holds it any more. */
  #reap(): void {
    if (!this.#supervised && !this.#failure) this.#executed.resolve();
    if (this.#waitForMonitor()) this.#awaitFirstProcess();
    else {
      whenEnded(pidfdOpen(this.monitorPid), () => {
        this.#waitForMonitor();
        this.#awaitFirstProcess();
      });
    }
  }

  /** Whether the monitor is gone; if so, it is reaped. */
  #waitForMonitor(): boolean {
    const end = allocate(8 + 144);
    const result = syscall(SYS.wait4, this.monitorPid, end.address, WNOHANG, end.address + 8);
    if (result > 0) this.#monitorEnd = { status: end.bytes.readInt32LE(0), usage: decodeUsage(end.bytes.subarray(8)) };
    return result !== 0;
  }

  /** The kernel ends the container's first process when its monitor was killed, but not at the same instant. */
  #awaitFirstProcess(): void {
    this.#gone = true;
    if (this.#exitRecord || !this.pidfd) this.#settle();
    else whenEnded(this.pidfd.duplicate(), () => this.#settle());
  }

  #settle(): void {
    // A monitor that reported nothing was killed, and took its child with it.
    const status = this.#payloadStatus ?? this.#exitRecord?.value ?? this.#monitorEnd?.status ?? SIGNALS.SIGKILL;
    const exit: Exit = {
      ...decodeWaitStatus(status),
      timedOut: this.#timedOut,
      failure: this.#failure,
      usage: (this.#supervised ? this.#exitRecord : this.#monitorEnd)?.usage,
    };
    this.pidfd?.close();
    for (const fd of this.#namespaces.values()) fd.close();
    // Nobody reads it any more.
    this.streams.destroyStdin();
    if (this.#exitRecord && !this.#failure && !this.#hasInit) this.#executed.resolve();
    const early =
      this.#failure ?? new SyscallError('wait4', ERRNO.ECHILD!, { doing: 'process ended during its setup' });
    this.#started.reject(early);
    this.#ready.reject(early);
    this.#executed.reject(early);
    this.#listener.reject(early);
    this.#terminal.reject(early);
    this.#scratch.reject(early);
    this.#exited.resolve(exit);
  }
}

/** What a parked process waits for: one byte of any value. */
const goWord = allocate(1);

const kindOfFlag = new Map(Object.entries(namespaceFlags).map(([kind, flag]) => [flag, kind as NamespaceKind]));

/** Signals that would act on a monitor itself go to it under another number. */
const controlSignals: Partial<Record<NodeJS.Signals, number>> = {
  SIGKILL: SIGNAL_KILL_CHILD,
  SIGSTOP: SIGNAL_STOP_CHILD,
};

/** Calls back once when the process of a pidfd has ended; owns and closes it. */
function whenEnded(pidfd: OwnedFd, callback: () => void): void {
  const watch = watchFd(pidfd.fd, { readable: true }, () => {
    watch.close();
    pidfd.close();
    callback();
  });
}

/** exit code and signal of a wait status: wait(2). */
function decodeWaitStatus(status: number): { exitCode: number | null; signal: NodeJS.Signals | null } {
  const signal = status & 0x7f;
  return signal === 0
    ? { exitCode: (status >> 8) & 0xff, signal: null }
    : { exitCode: null, signal: signalName(signal) ?? (`SIG${signal}` as NodeJS.Signals) };
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(reason: unknown): void;
}

/** A promise with its handles outside. Its rejection is somebody's to handle only if somebody asked. */
function deferred<T>(): Deferred<T> {
  let handles!: Pick<Deferred<T>, 'resolve' | 'reject'>;
  const promise = new Promise<T>((resolve, reject) => {
    handles = { resolve, reject };
  });
  promise.catch(() => {});
  return { promise, ...handles };
}
