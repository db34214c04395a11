import { open, tryLock } from './calls.ts';
import { O } from './constants.ts';
import { NsError } from './errors.ts';
import { withSpareDescriptors } from './spare-descriptors.ts';

const TIMEOUT_MS = 5000;

/**
 * Does something while no other process or thread does it in the same directory: flock(2), which the kernel lets go
 * when the holder dies. Synchronous, as what it guards: a few small files, some microseconds. It is done also when this process
 * has used up its descriptors.
 *
 * @throws NsError `ERR_NS_LOCK_TIMEOUT`: likely a process that was stopped holds it
 * @throws SyscallError `ENOENT`: there is no such directory
 */
export function withDirectoryLockSync<T>(directory: string, act: () => T): T {
  return withSpareDescriptors(() => holdingLock(directory, act));
}

function holdingLock<T>(directory: string, act: () => T): T {
  using fd = open(directory, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  const deadline = performance.now() + TIMEOUT_MS;
  while (!tryLock(fd.fd)) {
    // Never in the kernel: a holder that was stopped would stop our event loop for good.
    if (performance.now() > deadline)
      throw new NsError('ERR_NS_LOCK_TIMEOUT', `another process holds ${directory} for too long`, {
        hint: 'Likely a process that holds it is stopped; fuser shows which',
      });
    Atomics.wait(pause, 0, 0, 1);
  }
  return act();
}

const pause = new Int32Array(new SharedArrayBuffer(4));
