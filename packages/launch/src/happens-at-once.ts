import { SYS, syscall } from '@ns/libc';

/**
 * Waits for what is some microseconds away: hearing of it through the event loop would take many times as long. Under load it
 * may take longer than the few dozen attempts made here.
 */
export function happensAtOnce(hasHappened: () => boolean): boolean {
  for (let attempt = 0; attempt < 50; attempt++) {
    if (hasHappened()) return true;
    syscall(SYS.sched_yield);
  }
  return false;
}
