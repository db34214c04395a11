import type { RunHandle } from './run-handle.ts';

/** The end of a run that somebody has asked for, and how long those who wait for it leave it to its program. */
export class RequestedEnd {
  /** Until nothing of the run that was asked to end is left. */
  settled: Promise<void> = Promise.resolve();
  readonly #endOf: (run: RunHandle) => Promise<void>;
  #run: RunHandle | undefined;
  /** Of those whose turn to ask is yet to come. */
  readonly #deadlines = new Set<{ readonly at: number }>();

  /** @param endOf - settles when nothing of a run is left */
  constructor(endOf: (run: RunHandle) => Promise<void>) {
    this.#endOf = endOf;
  }

  /**
   * Somebody wants it to end, and his turn is yet to come: what goes before may wait for an end, too, and with more patience.
   *
   * @param patienceMs - until SIGKILL
   * @returns his turn has come
   */
  expect(patienceMs: number): () => void {
    const deadline = { at: performance.now() + patienceMs };
    this.#deadlines.add(deadline);
    if (this.#run) void this.#endWithin(this.#run, patienceMs);
    return () => void this.#deadlines.delete(deadline);
  }

  /** This run was asked to end. */
  isAsked(run: RunHandle, patienceMs: number): void {
    const others = [...this.#deadlines].map(({ at }) => Math.max(at - performance.now(), 0));
    this.#run = run;
    this.settled = this.#endWithin(run, Math.min(patienceMs, ...others));
  }

  async #endWithin(run: RunHandle, patienceMs: number): Promise<void> {
    const timer = setTimeout(() => run.launched.kill(), patienceMs);
    await this.#endOf(run);
    clearTimeout(timer);
  }
}
