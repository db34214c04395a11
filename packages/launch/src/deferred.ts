interface Handles<T> {
  resolve(value: T): void;
  reject(reason: unknown): void;
}

/**
 * A promise that is settled from outside, once, and made only when somebody asks for it. Its rejection is for those who
 * asked: it is never reported as unhandled.
 */
export class Deferred<T> {
  #promise: Promise<T> | undefined;
  #handles: Handles<T> | undefined;
  #outcome: ((handles: Handles<T>) => void) | undefined;

  get promise(): Promise<T> {
    if (!this.#promise) {
      this.#promise = new Promise<T>((resolve, reject) => {
        this.#handles = { resolve, reject };
        this.#outcome?.(this.#handles);
      });
      this.#promise.catch(() => {});
    }
    return this.#promise;
  }

  /** Somebody has asked, and has no answer yet. */
  get awaited(): boolean {
    return this.#promise !== undefined && this.#outcome === undefined;
  }

  resolve(value: T): void {
    this.#settle(({ resolve }) => resolve(value));
  }

  /** @param makeReason - called only when somebody wants to know: the stack of an error is not free */
  reject(makeReason: () => unknown): void {
    this.#settle(({ reject }) => reject(makeReason()));
  }

  #settle(outcome: (handles: Handles<T>) => void): void {
    if (this.#outcome) return;
    this.#outcome = outcome;
    if (this.#handles) outcome(this.#handles);
  }
}
