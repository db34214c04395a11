import type { FileWatch } from './watch-file.ts';

/**
 * Events as an async iterable. Watching begins when the stream is made, so nothing between that and the first `next` is
 * lost. Of each kind only the newest event waits to be read: a slow reader costs no memory.
 *
 * The event loop is kept alive only while somebody waits for `next`.
 */
export class EventStream<Event> implements AsyncIterableIterator<Event>, Disposable {
  readonly #pending = new Map<string, Event>();
  readonly #readers: ((result: IteratorResult<Event, undefined>) => void)[] = [];
  readonly #watches = new Set<FileWatch>();
  readonly #onEnd: () => void;
  readonly #persistent: boolean;
  #ended = false;

  /**
   * @param onEnd - called once, when the stream ends for whatever reason
   * @param persistent - false: the event loop is not kept alive by those who wait either
   */
  constructor(onEnd: () => void, persistent = true) {
    this.#onEnd = onEnd;
    this.#persistent = persistent;
  }

  /** Takes a watch over: it is closed with the stream. */
  own(watch: FileWatch | undefined): void {
    if (!watch) return;
    if (this.#ended) watch[Symbol.dispose]();
    else {
      this.#watches.add(watch);
      this.#updateReferences();
    }
  }

  /** Adds an event; one of the same kind that nobody read yet is replaced. */
  push(kind: string, event: Event): void {
    if (this.#ended) return;
    const reader = this.#readers.shift();
    if (reader) reader({ done: false, value: event });
    else {
      this.#pending.delete(kind); // so that the newer one takes its place in time
      this.#pending.set(kind, event);
    }
    this.#updateReferences();
  }

  /** Nothing is added any more. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Ends the stream; what is pending can still be read. Idempotent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const watch of this.#watches) watch[Symbol.dispose]();
    this.#watches.clear();
    for (const reader of this.#readers.splice(0)) reader({ done: true, value: undefined });
    this.#onEnd();
  }

  next(): Promise<IteratorResult<Event, undefined>> {
    for (const [kind, value] of this.#pending) {
      this.#pending.delete(kind);
      return Promise.resolve({ done: false, value });
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => {
      this.#readers.push(resolve);
      this.#updateReferences();
    });
  }

  return(): Promise<IteratorResult<Event, undefined>> {
    this.#pending.clear();
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  [Symbol.dispose](): void {
    void this.return();
  }

  #updateReferences(): void {
    for (const watch of this.#watches) {
      if (this.#persistent && this.#readers.length > 0) watch.ref();
      else watch.unref();
    }
  }
}
