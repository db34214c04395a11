import { setTimeout } from 'node:timers/promises';
import { type OwnedFd, tryLock } from '@ns/libc';

const RETRY_MS = 10;

/** Takes the lock of an open file (flock(2)) without waiting in the kernel, which would stop the event loop. False: it was not free in time. */
export async function lockPatiently(file: OwnedFd, timeoutMs: number): Promise<boolean> {
  for (const deadline = performance.now() + timeoutMs; !tryLock(file.fd); await setTimeout(RETRY_MS))
    if (performance.now() > deadline) return false;
  return true;
}
