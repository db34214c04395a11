import { ownTurn } from '@ns/libc';

/* Walking a tree with synchronous calls is several times faster than through the thread pool (one call takes a
   microsecond, a trip through the pool twenty), but must not hold the event loop: it works in slices. Of many
   walks at once each has its slice in a turn of its own. */

/** How long the event loop is held at a time. */
const SLICE_MS = 5;

/** Synchronous work that stops for breath at every `yield`; `undefined` is a breath without a result. */
export type Steps<T> = Generator<T | undefined, void, undefined>;

/** Does the work slice by slice, handing out the results as they come. */
export async function* inSlices<T>(steps: Steps<T>, signal?: AbortSignal): AsyncGenerator<T, void, undefined> {
  signal?.throwIfAborted();
  let end = performance.now() + SLICE_MS;
  for (const result of steps) {
    if (result !== undefined) yield result;
    if (performance.now() < end) continue;
    await ownTurn('walking');
    signal?.throwIfAborted();
    end = performance.now() + SLICE_MS;
  }
}

/** Does the work slice by slice, handing each result to `take` at once. */
export async function drain<T>(steps: Steps<T>, take: (result: T) => void, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  let end = performance.now() + SLICE_MS;
  for (const result of steps) {
    if (result !== undefined) take(result);
    if (performance.now() < end) continue;
    await ownTurn('walking');
    signal?.throwIfAborted();
    end = performance.now() + SLICE_MS;
  }
}
