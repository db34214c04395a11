import { EventEmitter } from 'node:events';
import { ERRNO, type FdWatch, NsError, OwnedFd, SpecError, watchFd } from '@ns/libc';
import { NotificationChannel, type NotificationReply } from './notification.ts';
import { CallerGoneError, SeccompCall } from './seccomp-call.ts';

/** Decides about one call. What it throws becomes EPERM for the caller and a `handlerError` event. */
export type SeccompHandler = (call: SeccompCall) => NotificationReply | Promise<NotificationReply>;

/** Handlers by the name of the system call. */
export type SeccompHandlers = Readonly<Record<string, SeccompHandler>>;

/** How a notifier works. */
export interface NotifierOptions {
  /** For calls without a handler of their own. Default: ENOSYS, as when nobody listens. */
  readonly otherwise?: SeccompHandler;
  /** How many calls may be in handlers at once; further callers wait in the kernel. Default 64. */
  readonly maxInFlight?: number;
}

interface NotifierEvents {
  /** A handler threw, or its answer was not accepted. The call got EPERM. */
  handlerError: [error: unknown, call: SeccompCall];
  /** No process under the filter is left, or the notifier was closed. */
  end: [];
}

/**
 * Serves the listener of a seccomp filter with TypeScript handlers, in the event loop and without a thread. Since Linux 5.0;
 * `continue()` since 5.5, `addFd()` since 5.14. Needs no privilege, but reading a caller's memory needs the right to trace it.
 *
 * @example
 * ```ts
 * export const serve = (listener: number) =>
 *   SeccompNotifier.listen(listener, {
 *     getuid: (call) => call.return(0),
 *     mkdirat: async (call) => (call.int(2) === 0o700 ? call.continue() : call.errno('EPERM')),
 *   });
 * ```
 */
export class SeccompNotifier extends EventEmitter<NotifierEvents> implements Disposable {
  readonly #listener: OwnedFd;
  readonly #channel: NotificationChannel;
  readonly #handlers: ReadonlyMap<string, SeccompHandler>;
  readonly #otherwise: SeccompHandler;
  readonly #maxInFlight: number;
  #inFlight = 0;
  #keepAlive = true;
  #watch: FdWatch | undefined;

  private constructor(listener: OwnedFd, handlers: SeccompHandlers, options: NotifierOptions) {
    super();
    const { otherwise = (call) => call.errno('ENOSYS'), maxInFlight = 64 } = options;
    if (!Number.isInteger(maxInFlight) || maxInFlight < 1)
      throw new SpecError('maxInFlight', 'a whole number from 1', maxInFlight);
    const given: unknown = handlers;
    if (typeof given !== 'object' || given === null) throw new SpecError('handlers', 'an object of functions', given);
    for (const [name, handler] of Object.entries(handlers)) {
      if (typeof handler !== 'function') throw new SpecError(`handlers.${name}`, 'a function', handler);
    }
    this.#channel = new NotificationChannel(listener);
    this.#listener = listener;
    this.#handlers = new Map(Object.entries(handlers));
    this.#otherwise = otherwise;
    this.#maxInFlight = maxInFlight;
  }

  /**
   * Starts serving.
   *
   * @param listener - the notification descriptor; the notifier owns it from now on, and closes it also when this throws
   * @throws SpecError for a listener that is no descriptor, and for a handler that is no function
   * @throws UnavailableError before Linux 5.0
   */
  static listen(listener: OwnedFd | number, handlers: SeccompHandlers, options: NotifierOptions = {}): SeccompNotifier {
    const given: unknown = typeof listener === 'number' ? listener : listener?.fd;
    if (!Number.isInteger(given) || (given as number) < 0)
      throw new SpecError('listener', 'an OwnedFd or the number of a descriptor', listener);
    const owned = typeof listener === 'number' ? new OwnedFd(listener) : listener;
    try {
      const notifier = new SeccompNotifier(owned, handlers, options);
      notifier.#resume();
      return notifier;
    } catch (error) {
      owned.close();
      throw error;
    }
  }

  /** Calls that are in handlers now. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Whether it has stopped serving: by {@link close}, or because nobody is left under the filter. */
  get closed(): boolean {
    return this.#listener.closed;
  }

  /** Lets the event loop wait for this notifier, as it does at first. */
  ref(): void {
    this.#keepAlive = true;
    this.#watch?.ref();
  }

  /** Lets the program end while this notifier listens. */
  unref(): void {
    this.#keepAlive = false;
    this.#watch?.unref();
  }

  /** Stops serving. Callers that wait, and all later ones, get ENOSYS from the kernel. Idempotent. */
  close(): void {
    if (this.closed) return;
    this.#pause();
    this.#listener.close();
    this.emit('end');
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #resume(): void {
    if (this.#watch || this.closed) return;
    this.#watch = watchFd(this.#listener.fd, { readable: true, disconnect: true }, () => this.#drain());
    if (!this.#keepAlive) this.#watch.unref();
  }

  #pause(): void {
    this.#watch?.close();
    this.#watch = undefined;
  }

  #drain(): void {
    while (!this.closed && this.#inFlight < this.#maxInFlight) {
      const state = this.#channel.poll();
      if (state === 'ended') this.close();
      if (state !== 'ready') return;
      const notification = this.#channel.receive();
      if (notification) void this.#serve(new SeccompCall(this.#channel, notification));
    }
    // Callers beyond the bound wait in the kernel; watching on would only spin.
    if (this.#inFlight >= this.#maxInFlight) this.#pause();
  }

  async #serve(call: SeccompCall): Promise<void> {
    this.#inFlight++;
    try {
      this.#answer(call, await (this.#handlers.get(call.syscall) ?? this.#otherwise)(call));
    } catch (error) {
      this.#refuse(call, error);
    } finally {
      this.#inFlight--;
      this.#resume();
    }
  }

  #answer(call: SeccompCall, reply: NotificationReply): void {
    if (this.closed) return;
    if (typeof reply !== 'object' || reply === null || !('kind' in reply)) {
      throw new SpecError(
        `handlers.${call.syscall}`,
        'an answer made by call.continue(), .return(), .errno() or .addFd()',
        reply,
      );
    }
    // A caller that is gone needs no answer.
    this.#channel.send(call.id, reply);
  }

  #refuse(call: SeccompCall, error: unknown): void {
    if (this.closed || (error instanceof CallerGoneError && !call.waiting)) return;
    try {
      this.#channel.send(call.id, { kind: 'errno', errno: ERRNO.EPERM });
    } catch (cause) {
      this.emit(
        'handlerError',
        new NsError('ERR_NS_SECCOMP_ANSWER', `${call.syscall} of process ${call.pid} could not be answered`, {
          hint: 'It waits until it is killed, or the listener is closed, which is ENOSYS for all who wait',
          cause,
        }),
        call,
      );
    }
    this.emit('handlerError', error, call);
  }
}
