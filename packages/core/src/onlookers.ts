import type { RunProcess } from './run-handle.ts';

type Referenced = Pick<RunProcess, 'ref' | 'unref'>;

/**
 * Those who wait for something of a process. As long as it is ours it keeps the event loop alive by itself, from its start on;
 * before, and from when it is let go, while there is one of them.
 */
export class Onlookers {
  readonly #counts = new WeakMap<Referenced, number>();
  readonly #waiting = new WeakSet<Referenced>();
  #isLetGo: boolean;

  constructor(isLetGo: boolean) {
    this.#isLetGo = isLetGo;
  }

  /** @returns says that he is done; idempotent */
  add(process: Referenced): () => void {
    this.#change(process, 1);
    let isDone = false;
    return () => {
      if (!isDone) this.#change(process, -1);
      isDone = true;
    };
  }

  /** It waits for its start, and nothing runs. */
  waits(process: Referenced): void {
    this.#waiting.add(process);
    this.#change(process, 0);
  }

  /** It starts. Whoever has let it go before says so again when it is ready. */
  starts(process: Referenced): void {
    this.#waiting.delete(process);
    process.ref();
  }

  /** From now on it is only for them. */
  letGo(process: Referenced | undefined): void {
    this.#isLetGo = true;
    if (process) this.#change(process, 0);
  }

  #change(process: Referenced, by: 1 | 0 | -1): void {
    const count = (this.#counts.get(process) ?? 0) + by;
    this.#counts.set(process, count);
    if (!this.#isLetGo && !this.#waiting.has(process)) return;
    if (count > 0) process.ref();
    else process.unref();
  }
}
