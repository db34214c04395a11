import { setTimeout as delay } from 'node:timers/promises';
import { type Launched, SIGNALS } from '@ns/launch';
import { pidfdOpen, pidfdSendSignal } from '@ns/libc';
import { childrenOf } from './process-list.ts';

/**
 * Ends what a command has left behind, when the process that watched it has adopted it. Whose parent ends is adopted in
 * turn, so looking at the children again and again finds everything, until nothing is left and the adopting process ends.
 */
export async function endAdopted({ pid, exited }: Pick<Launched, 'pid' | 'exited'>): Promise<void> {
  if (pid === undefined) return;
  let over = false;
  exited.then(() => {
    over = true;
  });
  for (;;) {
    // Usually nothing was left, and that is known in a moment.
    await delay(1);
    if (over) return;
    for (const child of childrenOf(pid)) kill(child, pid);
  }
}

function kill(child: number, parent: number): void {
  try {
    using pidfd = pidfdOpen(child);
    // Between the two looks its number may have become somebody else's.
    if (childrenOf(parent).includes(child)) pidfdSendSignal(pidfd.fd, SIGNALS.SIGKILL);
  } catch {
    // Gone by itself.
  }
}
