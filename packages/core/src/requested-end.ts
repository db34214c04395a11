import type { RunHandle } from './run-handle.ts';

/** When somebody who waits for an end has no patience left. */
interface Deadline {
  readonly at: number;
  isPast: boolean;
}

/** What is asked to end. */
interface Ending {
  /** Settles when nothing of a run is left. */
  endOf(run: RunHandle): Promise<void>;
  /** What its start hears. */
  endedInStart(): Error;
}

/** A setup takes milliseconds, on a busy machine seconds. */
const PREPARATION_MS = 5_000;

/** The end of a run that somebody has asked for, and how long those who wait for it leave it to its program. */
export class RequestedEnd {
  /** Until nothing of the run that was asked to end is left. */
  settled: Promise<void> = Promise.resolve();
  readonly #container: Ending;
  #run: RunHandle | undefined;
  /** Ends a preparation that takes longer than it should. */
  #delayed: AbortController | undefined;
  /** Of those whose turn to ask is yet to come. */
  readonly #deadlines = new Set<Deadline>();

  constructor(container: Ending) {
    this.#container = container;
  }

  /**
   * Somebody wants it to end, and his turn is yet to come: what goes before may wait for an end, too, and with more patience.
   *
   * @param patienceMs - until SIGKILL
   * @returns his turn has come
   */
  expect(patienceMs: number): () => void {
    const deadline = { at: performance.now() + patienceMs, isPast: false };
    this.#deadlines.add(deadline);
    if (this.#run) void this.#endWithin(this.#run, patienceMs);
    const timer = setTimeout(() => {
      deadline.isPast = true;
      this.#endDelayed();
    }, patienceMs);
    return () => {
      clearTimeout(timer);
      this.#deadlines.delete(deadline);
    };
  }

  /** This run was asked to end. */
  isAsked(run: RunHandle, patienceMs: number): void {
    const others = [...this.#deadlines].map(({ at }) => Math.max(at - performance.now(), 0));
    this.#run = run;
    this.settled = this.#endWithin(run, Math.min(patienceMs, ...others));
  }

  /** Prepares a run, which others may hold up: for ever, unless somebody wants it to end. */
  async whilePreparing<T>(prepare: (unwanted: AbortSignal) => Promise<T>): Promise<T> {
    const preparation = new AbortController();
    const timer = setTimeout(() => {
      this.#delayed = preparation;
      this.#endDelayed();
    }, PREPARATION_MS);
    try {
      return await prepare(preparation.signal);
    } finally {
      clearTimeout(timer);
      this.#delayed = undefined;
    }
  }

  #endDelayed(): void {
    if ([...this.#deadlines].some(({ isPast }) => isPast)) this.#delayed?.abort(this.#container.endedInStart());
  }

  async #endWithin(run: RunHandle, patienceMs: number): Promise<void> {
    const timer = setTimeout(() => run.launched.kill(), patienceMs);
    await this.#container.endOf(run);
    clearTimeout(timer);
  }
}
