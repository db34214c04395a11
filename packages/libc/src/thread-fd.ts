import { closeSync, openSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { F, O } from './constants.ts';
import { check } from './errors.ts';
import { syscall } from './libc.ts';
import { refillSpares } from './spare-descriptors.ts';
import { SYS } from './syscalls.ts';

/* A worker thread can be terminated at any moment, and then nothing of its JavaScript runs any more. What it has opened
   through node:fs Node closes; of other descriptors it does not know. So in a worker a descriptor is put in the place of
   one that Node has opened. On the main thread, which ends with the process, none of this is needed. */

// Opened in advance: a descriptor that is on its way to its place is lost when the worker is terminated.
const places: number[] = [];
const PLACES = 4;
const openPlace = () => openSync('/', O.PATH | O.DIRECTORY);
if (!isMainThread) refillPlaces();

function refillPlaces(): void {
  try {
    while (places.length < PLACES) places.push(openPlace());
  } catch {
    // Out of descriptors: the next one says so.
  }
}

/** Binds a descriptor to this thread: it is closed when the thread ends. Returns its number from now on. */
export function bindToThread(fd: number): number {
  if (isMainThread) return fd;
  try {
    return check('dup3', syscall(SYS.dup3, fd, places.pop() ?? openPlace(), O.CLOEXEC));
  } finally {
    syscall(SYS.close, fd);
    refillPlaces();
  }
}

/** Another number for a bound descriptor, of which nobody but the caller knows. */
export function unbind(fd: number): number {
  if (isMainThread) return fd;
  const free = check('fcntl', syscall(SYS.fcntl, fd, F.DUPFD_CLOEXEC, 3));
  closeSync(fd);
  return free;
}

/** Closes a bound descriptor. */
export function closeBound(fd: number): void {
  if (isMainThread) syscall(SYS.close, fd);
  else {
    try {
      closeSync(fd);
    } catch {
      // Linux frees the number even when close reports an error, so there is nothing to retry.
    }
  }
  refillSpares();
}
