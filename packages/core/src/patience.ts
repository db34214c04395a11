import { NsError } from '@ns/libc';

/** How long somebody waits for a call that may take long. What was begun goes on without him. */
export interface Patience {
  /** The promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Milliseconds; then it rejects with `ERR_NS_TIMEOUT`. Default: as long as it takes. */
  readonly timeout?: number;
}

/** Options of a call, and how long it may take. */
export function splitPatience<Options extends Patience>({ signal, timeout, ...rest }: Options) {
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

/** The same for what is made. What comes too late is undone, and that is waited for. */
export async function patientlyMade<Value>(
  what: string,
  patience: Patience,
  make: () => Promise<Value>,
  undo: (made: Value) => Promise<unknown>,
): Promise<Value> {
  let made: Promise<Value> | undefined;
  try {
    return await patiently(what, patience, () => {
      made = make();
      return made;
    });
  } catch (error) {
    await made?.then(undo, () => {});
    throw error;
  }
}

/** The same for what heeds a signal: when patience is lost it is told to stop, and its end is waited for. */
export async function interruptibly<Value>(
  what: string,
  { signal, timeout }: Patience,
  act: (signal: AbortSignal) => Promise<Value>,
): Promise<Value> {
  signal?.throwIfAborted();
  const time = new AbortController();
  const giveUp = () =>
    time.abort(
      new NsError('ERR_NS_TIMEOUT', `${what} took more than ${timeout} ms`, { hint: 'Give a larger timeout' }),
    );
  const timer = timeout === undefined ? undefined : setTimeout(giveUp, timeout);
  try {
    return await act(signal ? AbortSignal.any([signal, time.signal]) : time.signal);
  } finally {
    clearTimeout(timer);
  }
}
