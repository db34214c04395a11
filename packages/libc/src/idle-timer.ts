/**
 * Calls back when something has not been used for a while: after one to two periods. Using it costs next to nothing, since no
 * timer is moved. It does not keep the event loop alive.
 */
export class IdleTimer {
  readonly #periodMs: () => number;
  readonly #onIdle: () => void;
  #timer: NodeJS.Timeout | undefined;
  #used = false;

  constructor(periodMs: () => number, onIdle: () => void) {
    this.#periodMs = periodMs;
    this.#onIdle = onIdle;
  }

  /** It is used now. */
  use(): void {
    this.#used = true;
    this.#timer ??= setInterval(() => this.#look(), this.#periodMs()).unref();
  }

  /** Until it is used again, there is nothing to wait for. Idempotent. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    if (this.#used) {
      this.#used = false;
      return;
    }
    this.stop();
    this.#onIdle();
  }
}
