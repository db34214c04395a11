import { ERRNO, type OwnedFd, SyscallError } from '@ns/libc';
import type { Deferred } from './deferred.ts';
import { type Exit, usageOfInit } from './exit.ts';
import { describeFailure, type LaunchedSteps } from './explain.ts';
import { holdMountNamespace, unmountLater } from './late-unmount.ts';
import { LaunchFacts } from './launch-facts.ts';
import type { Step } from './lowering.ts';
import type { ChildEnd } from './reaped-child.ts';
import type { StageRecord } from './records.ts';
import { SIGNALS } from './signals.ts';
import { isTimedFromGo } from './steps/monitor.ts';
import { type NamespaceKind, namespaceFlags } from './steps/process.ts';
import { decodeWaitStatus } from './wait-status.ts';

/** What was launched: failures are explained from it. */
export interface Origin extends LaunchedSteps {
  /** The steps as this launch had them, where `steps` are those of another with other names. */
  readonly asLaunched?: () => readonly Step[];
}

/** What a launched process has told over its status socket: of its start, of itself, and of its end. */
export class LaunchReport {
  origin: Origin;
  /** The first process, when it exists; the caller's pid namespace. */
  pid: number | undefined;
  pidfd: OwnedFd | undefined;
  readonly facts = new LaunchFacts();
  readonly namespaces = new Map<NamespaceKind, OwnedFd>();
  failure: SyscallError | undefined;
  /** The monitor's: nothing but its own end comes after it. */
  exitRecord: StageRecord | undefined;
  /** What the init said of an end after which nothing but itself was left. */
  lastEnd: StageRecord | undefined;
  /** The process that we started is a monitor. */
  readonly supervised: boolean;
  /** Its init says so when nothing is left but itself. */
  readonly tellsEnd: boolean;
  /** Its monitor is to hear when the process may go on. */
  readonly isTimedFromGo: boolean;
  readonly #hasInit: boolean;
  readonly #unmountLate: boolean;
  readonly #early: (() => void)[] = [];
  #mounts: OwnedFd | undefined;
  #timedOut = false;
  #outputLost = false;
  #payloadStatus: number | undefined;

  constructor(origin: Origin, { unmountLate = false }: { unmountLate?: boolean }) {
    const clone = origin.steps.find((step) => step.op === 'clone');
    this.supervised = clone !== undefined;
    const init = clone?.child.find((step) => step.op === 'clone');
    this.#hasInit = init !== undefined;
    this.tellsEnd = init?.tellEnd ?? false;
    this.isTimedFromGo = clone !== undefined && isTimedFromGo(clone);
    this.#unmountLate = unmountLate;
    this.origin = origin;
  }

  /** The first process is there, and is no child of a monitor. */
  startedAs(pid: number): void {
    this.pid = pid;
    this.facts.started.resolve(pid);
  }

  /** @param fd - that came with it: ours from now on */
  receive(record: StageRecord, fd: OwnedFd | undefined): void {
    switch (record.kind) {
      case 'failure':
        this.failure = this.#describeFailure(record);
        break;
      case 'started':
        this.pidfd = fd;
        if (this.#unmountLate) this.#mounts = holdMountNamespace(record.value, fd);
        this.startedAs(record.value);
        for (const resolve of this.#early.splice(0)) resolve();
        return;
      case 'ready':
        this.#onceStarted(() => this.facts.ready.resolve());
        break;
      case 'executing':
        if (!this.failure) this.#onceStarted(() => this.facts.executed.resolve());
        break;
      case 'timeout':
        this.#timedOut = true;
        break;
      case 'outputLost':
        this.#outputLost = true;
        break;
      case 'payloadExit':
        this.#payloadStatus = record.value;
        if (record.usage) this.lastEnd = record;
        this.facts.payloadEnded.resolve();
        break;
      case 'exit':
        this.exitRecord = record;
        break;
      case 'seccompListener':
        settleWith(this.facts.listener, fd, 'a seccomp listener');
        return;
      case 'terminal':
        settleWith(this.facts.terminal, fd, 'a terminal');
        return;
      case 'namespace':
        if (fd) this.namespaces.set(kindOfFlag.get(record.value)!, fd);
        return;
      case 'scratch':
        settleWith(this.facts.scratch, fd, 'a mount');
        return;
    }
    fd?.close();
  }

  /** The status socket has ended. */
  statusEnded(): void {
    // A program that was executed in place of the stage closed it.
    if (!this.supervised && !this.failure) this.facts.executed.resolve();
  }

  /**
   * Nothing is left of the process: gives back what it handed over, and says how it ended.
   *
   * @param own - the end of the process that we started: one that reported nothing was killed, and took its child with it
   */
  end(own: ChildEnd | undefined): Exit {
    const status = this.#payloadStatus ?? this.exitRecord?.value ?? own?.status ?? SIGNALS.SIGKILL;
    const exit: Exit = {
      ...decodeWaitStatus(status),
      timedOut: this.#timedOut,
      outputLost: this.#outputLost,
      failure: this.failure,
      usage: this.#usage(own),
    };
    this.pidfd?.close();
    for (const fd of this.namespaces.values()) fd.close();
    if (this.#mounts) unmountLater(this.#mounts);
    if (this.exitRecord && !this.failure && !this.#hasInit) this.facts.executed.resolve();
    this.facts.end(
      () => this.failure ?? new SyscallError('wait4', ERRNO.ECHILD, { doing: 'process ended during its setup' }),
    );
    return exit;
  }

  #usage(own: ChildEnd | undefined): Exit['usage'] {
    if (!this.supervised) return own?.usage;
    if (this.lastEnd) return this.lastEnd.usage;
    return this.#hasInit ? usageOfInit(this.exitRecord) : this.exitRecord?.usage;
  }

  #describeFailure({ index, value }: StageRecord): SyscallError {
    const steps = this.origin.asLaunched?.() ?? this.origin.steps;
    return describeFailure({ ...this.origin, steps }, index, value);
  }

  /** A child may speak before its monitor has said that there is one; nobody shall hear of it before. */
  #onceStarted(resolve: () => void): void {
    if (this.pid === undefined) this.#early.push(resolve);
    else resolve();
  }
}

/** @param fd - undefined when the kernel had no number for it, and dropped it */
function settleWith(fact: Deferred<OwnedFd>, fd: OwnedFd | undefined, what: string): void {
  if (fd) fact.resolve(fd);
  else fact.reject(() => new SyscallError('recvmsg', ERRNO.EMFILE, { doing: `taking over ${what}` }));
}

const kindOfFlag = new Map(Object.entries(namespaceFlags).map(([kind, flag]) => [flag, kind as NamespaceKind]));
