import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, rmdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { O, open, tryLock } from '@ns/libc';
import { PIN_DIRECTORY } from '../src/pin.ts';

/**
 * Does something with pins, in turn with other tests. What was made for it is removed: the directory, and the mount on
 * it, which is lost when a machine starts anew though the directory may stay.
 */
export async function withPinDirectory(act: () => Promise<void>): Promise<void> {
  using turn = open('/run', O.RDONLY | O.DIRECTORY);
  while (!tryLock(turn.fd)) await delay(10);
  const hadDirectory = existsSync(PIN_DIRECTORY);
  const hadMount = hadDirectory && isMountPoint(PIN_DIRECTORY);
  try {
    await act();
  } finally {
    if (!hadMount && isMountPoint(PIN_DIRECTORY)) execFileSync('umount', [PIN_DIRECTORY]);
    if (!hadDirectory) rmdirSync(PIN_DIRECTORY);
  }
}

function isMountPoint(path: string): boolean {
  return spawnSync('mountpoint', ['-q', path]).status === 0;
}
