/**
 * What comes piece by piece, for somebody who may leave while he waits for the next one. The `return()` of an async generator
 * waits until that has come, perhaps never; here it ends the wait, with nothing more to come, and the source is told to end.
 *
 * @param make - the source, which frees all it holds when the signal comes
 */
export function untilLeft<Value>(
  make: (left: AbortSignal) => AsyncIterable<Value>,
): AsyncGenerator<Value, void, undefined> {
  return new LeavableIterator(make);
}

type Piece<Value> = IteratorResult<Value, void>;

const nothingMore = { done: true, value: undefined } as const;

class LeavableIterator<Value> implements AsyncGenerator<Value, void, undefined> {
  readonly #left = new AbortController();
  readonly #source: AsyncIterator<Value, void, undefined>;
  /** Each ends somebody's wait. */
  readonly #waits = new Set<() => void>();

  constructor(make: (left: AbortSignal) => AsyncIterable<Value>) {
    this.#source = make(this.#left.signal)[Symbol.asyncIterator]();
  }

  next(): Promise<Piece<Value>> {
    return new Promise((resolve, reject) => {
      const end = () => resolve(nothingMore);
      this.#waits.add(end);
      const over = () => this.#waits.delete(end);
      this.#source.next().then(
        (piece) => {
          over();
          resolve(piece);
        },
        (error: unknown) => {
          over();
          reject(error);
        },
      );
    });
  }

  async return(): Promise<Piece<Value>> {
    this.#left.abort();
    for (const end of this.#waits) end();
    await this.#source.return?.();
    return nothingMore;
  }

  async throw(error: unknown): Promise<Piece<Value>> {
    await this.return();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}
