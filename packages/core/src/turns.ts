/** Things done one after the other, in the order in which they were asked for, whatever became of those before. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /**
   * @param signal - gives up waiting for those before; what has begun heeds it itself
   * @returns settles like what was done
   */
  async take<T>(act: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    let begun = false;
    const turn = this.#last.then(() => {
      signal?.throwIfAborted();
      begun = true;
      return act();
    });
    this.#last = turn.catch(() => {});
    if (!signal) return turn;
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => !begun && reject(signal.reason), { once: true });
      turn.then(resolve, reject);
    });
  }
}
