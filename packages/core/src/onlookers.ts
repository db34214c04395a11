import type { RunProcess } from './run-handle.ts';

type Referenced = Pick<RunProcess, 'ref' | 'unref'>;

/**
 * Those who wait for something of a process that does not keep the event loop alive by itself: while there is one, it does.
 */
export class Onlookers {
  readonly #counts = new WeakMap<Referenced, number>();

  /** @returns says that he is done; idempotent */
  add(process: Referenced): () => void {
    this.#change(process, 1);
    let isDone = false;
    return () => {
      if (!isDone) this.#change(process, -1);
      isDone = true;
    };
  }

  #change(process: Referenced, by: 1 | -1): void {
    const count = (this.#counts.get(process) ?? 0) + by;
    this.#counts.set(process, count);
    if (count > 0) process.ref();
    else process.unref();
  }
}
