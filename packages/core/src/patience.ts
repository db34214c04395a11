import { NsError } from '@ns/libc';

/** How long somebody waits for a call that may take long. What was begun goes on without him. */
export interface Patience {
  /** The promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Milliseconds; then it rejects with `ERR_NS_TIMEOUT`. Default: as long as it takes. */
  readonly timeout?: number;
}

/** The promise, for those who wait no longer than they said. */
export async function patiently<Value>(
  what: string,
  { signal, timeout }: Patience,
  promise: Promise<Value>,
): Promise<Value> {
  if (signal === undefined && timeout === undefined) return promise;
  promise.catch(() => {});
  signal?.throwIfAborted();
  let giveUp = (_reason: unknown) => {};
  const impatience = new Promise<never>((_, reject) => {
    giveUp = reject;
  });
  const onAbort = () => giveUp(signal!.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer =
    timeout === undefined
      ? undefined
      : setTimeout(() => giveUp(new NsError('ERR_NS_TIMEOUT', `${what} took more than ${timeout} ms`)), timeout);
  try {
    return await Promise.race([promise, impatience]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}
