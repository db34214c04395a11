import { type OwnedFd, pidfdOpen } from '@ns/libc';
import type { ReapedChild } from './reaped-child.ts';
import { whenEnded } from './when-ended.ts';

/** How long until the next attempt, when there was no descriptor to wait with. */
const AGAIN_MS = 10;

/** Waits for a child that is some microseconds from its end, after those who wait for something else have been told. */
export function reapLater(child: ReapedChild): void {
  // An immediate of an event is still part of its turn.
  setImmediate(() => setImmediate(() => reap(child)));
}

function reap(child: ReapedChild): void {
  if (child.hasEnded()) return;
  let pidfd: OwnedFd;
  try {
    pidfd = pidfdOpen(child.pid);
  } catch {
    // Out of descriptors, for now.
    setTimeout(() => reap(child), AGAIN_MS);
    return;
  }
  whenEnded(pidfd, () => child.hasEnded());
}

/** Waits for a child that ends when it gets to it, and keeps no event loop alive for it. */
export function reapInPassing(child: ReapedChild): void {
  if (child.hasEnded()) return;
  try {
    whenEnded(pidfdOpen(child.pid), () => child.hasEnded()).unref();
  } catch {
    // Out of descriptors: a zombie is left, until this process ends.
  }
}
