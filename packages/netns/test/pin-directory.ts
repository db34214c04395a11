import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { O, open, tryLock } from '@ns/libc';

/** Does something with pins, in turn with other tests: whoever makes /run/netns removes it, and nobody else has pins there. */
export async function withPinDirectory(act: () => Promise<void>): Promise<void> {
  using turn = open('/run', O.RDONLY | O.DIRECTORY);
  while (!tryLock(turn.fd)) await delay(10);
  const hadDirectory = existsSync('/run/netns');
  try {
    await act();
  } finally {
    if (!hadDirectory) execFileSync('sh', ['-c', 'umount /run/netns; rmdir /run/netns']);
  }
}
