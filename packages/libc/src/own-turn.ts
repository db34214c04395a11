import { performance } from 'node:perf_hooks';
import timers from 'node:timers';

/* Callers that wait for the next turn of the event loop are all told in the same one, and go on in it one after the other: a
   start takes a fraction of a millisecond, 64 of them keep a server from answering for 64 times as long. And who has little
   to do must not wait for all who have much to do: this thread's time is shared among kinds, as by start-time fair queueing
   (Goyal, Vin and Cheng, 1996), the cost of a turn being measured when it is over. */

// As they are now: whoever has a clock of his own for a while, as tests have, would keep for ever who waits meanwhile.
const { setImmediate } = timers;
const { nextTick } = process;
const { queueMicrotask } = globalThis;
const now = performance.now.bind(performance);

interface Queue {
  readonly callers: (() => void)[];
  /** Milliseconds of this thread that its turns have taken. */
  usedMs: number;
}

/** As long as this, one turn of the event loop serves another caller, and another: most take much less. */
const TURN_MS = 1;

const queues = new Map<string, Queue>();
/** Callers who wait, and the one whose turn it is. */
let waiting = 0;
/** What the kind had used that was served last. */
let servedMs = 0;

/**
 * Settles in a turn of the event loop in which nobody else's does, but for a few who are done within a millisecond; what is
 * ready meanwhile gets its turn in between.
 *
 * @param kind - what somebody wants it for, in few words, or what he does it to. Those of one kind keep their order; of the kinds, that one is next
 * which has used this thread least
 */
export function ownTurn(kind: string): Promise<void> {
  return new Promise((resolve) => {
    const queue = queueOf(kind);
    // Who asked for nothing has not saved that up.
    if (queue.callers.length === 0) queue.usedMs = Math.max(queue.usedMs, servedMs);
    queue.callers.push(resolve);
    if (waiting++ === 0) setImmediate(serve);
  });
}

/** Does something with each of many, for as long as a turn is, and then waits for another one. */
export async function inOwnTurns<Item, Value>(
  kind: string,
  items: Iterable<Item>,
  act: (item: Item) => Value,
): Promise<Value[]> {
  const values: Value[] = [];
  let end = now() + TURN_MS;
  for (const item of items) {
    values.push(act(item));
    if (now() < end) continue;
    await ownTurn(kind);
    end = now() + TURN_MS;
  }
  return values;
}

function queueOf(kind: string): Queue {
  const queue = queues.get(kind) ?? { callers: [], usedMs: 0 };
  queues.set(kind, queue);
  return queue;
}

function serve(): void {
  serveUntil(now() + TURN_MS);
}

function serveUntil(end: number): void {
  const queue = nextQueue();
  const begin = now();
  servedMs = queue.usedMs;
  queue.callers.shift()!();
  whenMicrotasksAreDone(() => {
    const finish = now();
    queue.usedMs += finish - begin;
    if (--waiting === 0) return beginAnew();
    // Another one like this fits. Made by an immediate, one waits for the next turn.
    if (2 * finish - begin < end) serveUntil(end);
    else setImmediate(serve);
  });
}

/** Who waited for nobody owes nobody. */
function beginAnew(): void {
  queues.clear();
  servedMs = 0;
}

function nextQueue(): Queue {
  let least: Queue | undefined;
  for (const [kind, queue] of queues) {
    if (queue.callers.length > 0) {
      if (!least || queue.usedMs < least.usedMs) least = queue;
    } else if (queue.usedMs <= servedMs) queues.delete(kind); // As if it had never been there.
  }
  return least!;
}

/** A tick that a microtask asks for comes after all that are there, and those that they make. */
function whenMicrotasksAreDone(act: () => void): void {
  queueMicrotask(() => nextTick(act));
}
