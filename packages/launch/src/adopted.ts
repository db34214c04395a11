import {
  hasCode,
  type OwnedFd,
  pidfdOpen,
  pidfdSendSignal,
  prepareToWatch,
  ResourceStack,
  SpecError,
  watchFd,
} from '@ns/libc';
import type { Exit } from './exit.ts';
import { readExit } from './journal.ts';
import { controlSignals, SIGNALS } from './signals.ts';

/** Which processes to adopt. */
export interface AdoptOptions {
  readonly monitorPid: number;
  readonly pid: number;
  /**
   * Called when descriptors of both are open, which from then on cannot mean others: are they the processes that were
   * meant? Their start times tell.
   */
  readonly verify: () => boolean;
  /** The journal of the `clone` step, read when the process has ended. */
  readonly readJournal: () => Buffer | undefined;
}

/**
 * A process that somebody else launched, or this program in an earlier life, under a monitor. It is watched through
 * pidfds: nobody's child has to be anybody's.
 */
export class Adopted implements Disposable {
  readonly monitorPid: number;
  readonly pid: number;
  readonly pidfd: OwnedFd;
  /** Settles when monitor and process are gone. */
  readonly exited: Promise<Exit>;
  readonly #monitor: OwnedFd;
  readonly #watches: readonly { ref(): void; unref(): void; close(): void }[];

  private constructor(pidfd: OwnedFd, monitor: OwnedFd, options: AdoptOptions) {
    this.pid = options.pid;
    this.monitorPid = options.monitorPid;
    this.pidfd = pidfd;
    this.#monitor = monitor;
    let resolve = (_: Exit) => {};
    this.exited = new Promise((settle) => {
      resolve = settle;
    });
    let left = 2;
    this.#watches = [pidfd, monitor].map((fd) => {
      const watch = watchFd(fd.fd, { readable: true }, () => {
        watch.close();
        if (--left > 0) return;
        resolve(readExit(options.readJournal()));
      });
      return watch;
    });
  }

  /**
   * @returns undefined when one of them is gone
   * @throws SyscallError `EMFILE` and the like: that cannot be told now
   */
  static open(options: AdoptOptions): Adopted | undefined {
    using rollback = new ResourceStack();
    prepareToWatch();
    try {
      const pidfd = rollback.use(pidfdOpen(options.pid));
      const monitor = rollback.use(pidfdOpen(options.monitorPid));
      if (!options.verify()) return undefined;
      const adopted = new Adopted(pidfd, monitor, options);
      rollback.release();
      return adopted;
    } catch (error) {
      if (hasCode(error, 'EMFILE', 'ENFILE', 'ENOMEM')) throw error;
      return undefined;
    }
  }

  /**
   * Sends a signal, through monitor and init to the program. Returns false when the process is gone.
   *
   * @throws SpecError for a name that is no signal's
   */
  signal(signal: NodeJS.Signals): boolean {
    if (!Object.hasOwn(SIGNALS, signal)) throw new SpecError('signal', "a signal name such as 'SIGTERM'", signal);
    return !this.#monitor.closed && pidfdSendSignal(this.#monitor.fd, controlSignals[signal] ?? SIGNALS[signal]);
  }

  /** Ends the process and, where it is pid 1 of a pid namespace, everything in it. */
  kill(): boolean {
    return this.signal('SIGKILL');
  }

  /** Does it keep the event loop alive? It does from the start. */
  ref(): void {
    for (const watch of this.#watches) watch.ref();
  }

  unref(): void {
    for (const watch of this.#watches) watch.unref();
  }

  /** Watches no longer; the process goes on. Idempotent. */
  [Symbol.dispose](): void {
    for (const watch of this.#watches) watch.close();
    this.pidfd.close();
    this.#monitor.close();
  }
}
