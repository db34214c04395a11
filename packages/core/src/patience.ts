import type { Readable } from 'node:stream';
import { NsError, ownTurn, rollBack, SpecError } from '@ns/libc';
import { isPlainObject } from './field-schemas.ts';
import { untilLeft } from './until-left.ts';

/** How long somebody waits for a call that may take long. What was begun goes on without him. */
export interface Patience {
  /** The promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Milliseconds; then it rejects with `ERR_NS_TIMEOUT`. An iterator counts from its first `next`. Default: as long as it takes. */
  readonly timeout?: number;
}

/** Options of a call, and how long it may take. */
export function splitPatience<Options extends Patience>(options: Options) {
  if (!isPlainObject(options)) throw new SpecError('options', 'an object', options);
  const { signal, timeout, ...rest } = options;
  const patience: Patience = { ...(signal && { signal }), ...(timeout !== undefined && { timeout }) };
  return { patience, rest };
}

/**
 * Begins something, and waits for it as long as somebody has patience.
 *
 * @throws the signal's reason; when it is there already, nothing is begun
 */
export async function patiently<Value>(what: string, patience: Patience, act: () => Promise<Value>): Promise<Value> {
  patience.signal?.throwIfAborted();
  const begun = act();
  if (patience.signal === undefined && patience.timeout === undefined) return begun;
  begun.catch(() => {});
  return interruptibly(what, patience, (signal) => {
    const impatience = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    return Promise.race([begun, impatience]);
  });
}

/**
 * The same for what many may call at once: each begins in a turn of the event loop of its own.
 *
 * @param kind - of the turn. What is called on one thing is one kind, and keeps its order
 */
export function patientlyInTurn<Value>(
  what: string,
  patience: Patience,
  act: () => Value | Promise<Value>,
  kind = what,
): Promise<Value> {
  return patiently(what, patience, async () => {
    await ownTurn(kind);
    return act();
  });
}

/**
 * The same for what is made. What comes too late is undone, and that is waited for; whoever makes it is told by a signal that
 * nobody wants it any more.
 */
export async function patientlyMade<Value>(
  what: string,
  patience: Patience,
  make: (unwanted: AbortSignal) => Promise<Value>,
  undo: (made: Value) => Promise<unknown>,
): Promise<Value> {
  let made: Promise<Value> | undefined;
  const unwanted = new AbortController();
  try {
    return await patiently(what, patience, () => {
      made = make(unwanted.signal);
      return made;
    });
  } catch (error) {
    unwanted.abort(error);
    throw await rollBack(error, async () => made?.then(undo, () => {}));
  }
}

/** The same for what heeds a signal: when patience is lost it is told to stop, and its end is waited for. */
export async function interruptibly<Value>(
  what: string,
  patience: Patience,
  act: (signal: AbortSignal) => Promise<Value>,
): Promise<Value> {
  patience.signal?.throwIfAborted();
  using limit = limitOf(what, patience);
  limit.begin();
  return await act(limit.signal);
}

/**
 * The same for what comes piece by piece: when patience is lost it is told to end, and the reason is thrown after it. Time
 * is counted from when the first piece is asked for. Who leaves it while he waits is not held up.
 */
export function interruptiblyEach<Value>(
  what: string,
  patience: Patience,
  act: (signal: AbortSignal) => AsyncIterable<Value>,
): AsyncIterable<Value> {
  if (patience.signal === undefined && patience.timeout === undefined) return untilLeft(act);
  return untilLeft((left) => {
    const limit = limitOf(what, patience);
    return withinLimit(limit, act(AbortSignal.any([limit.signal, left])));
  });
}

async function* withinLimit<Value>(limit: Limit, values: AsyncIterable<Value>): AsyncGenerator<Value, void, undefined> {
  using held = limit;
  held.begin();
  held.signal.throwIfAborted();
  try {
    for await (const value of values) {
      held.signal.throwIfAborted();
      yield value;
    }
  } catch (error) {
    held.signal.throwIfAborted();
    throw error;
  }
  held.signal.throwIfAborted();
}

/** The same for a stream: when patience is lost it is destroyed with the reason. */
export function interruptiblyRead(what: string, patience: Patience, stream: Readable): Readable {
  if (patience.signal === undefined && patience.timeout === undefined) return stream;
  const limit = limitOf(what, patience);
  limit.begin();
  const destroy = () => stream.destroy(limit.signal.reason);
  if (limit.signal.aborted) destroy();
  limit.signal.addEventListener('abort', destroy, { once: true });
  return stream.once('close', () => limit[Symbol.dispose]());
}

/** Patience as one signal, until this is disposed of; its time is counted from `begin`. */
interface Limit extends Disposable {
  readonly signal: AbortSignal;
  begin(): void;
}

function limitOf(what: string, { signal, timeout }: Patience): Limit {
  const time = new AbortController();
  const giveUp = () =>
    time.abort(
      new NsError('ERR_NS_TIMEOUT', `${what} took more than ${timeout} ms`, { hint: 'Give a larger timeout' }),
    );
  let timer: NodeJS.Timeout | undefined;
  return {
    signal: signal ? AbortSignal.any([signal, time.signal]) : time.signal,
    begin: () => {
      if (timeout !== undefined) timer = setTimeout(giveUp, timeout);
    },
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}
