import type { Change } from './change.ts';
import { drain, inSlices, type Steps } from './time-slices.ts';

/**
 * Differences as they are found. `await` gives all of them as an array; `for await` one at a time, in flat memory.
 * Nothing is looked at before one of the two; each starts a walk of its own.
 */
export class ChangeStream implements PromiseLike<Change[]>, AsyncIterable<Change> {
  readonly #walk: () => Steps<Change>;
  readonly #signal: AbortSignal | undefined;

  constructor(walk: () => Steps<Change>, signal?: AbortSignal) {
    this.#walk = walk;
    this.#signal = signal;
  }

  [Symbol.asyncIterator](): AsyncGenerator<Change, void, undefined> {
    return inSlices(this.#walk(), this.#signal);
  }

  /** All changes. */
  async toArray(): Promise<Change[]> {
    const changes: Change[] = [];
    await drain(this.#walk(), (change) => changes.push(change), this.#signal);
    return changes;
  }

  // biome-ignore lint/suspicious/noThenProperty: awaiting it is the common way to use it
  then<A = Change[], B = never>(
    onFulfilled?: ((changes: Change[]) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.toArray().then(onFulfilled, onRejected);
  }
}
