import { AT_FDCWD, closeFd, ERRNO, O, openAt, statFd } from '@ns/libc';
import { isRegular } from './file-type.ts';

/** How long who holds a lease on a file is given to let go of it: whoever means to does so at once. */
const LEASE_PATIENCE_MS = 200;

/**
 * Opens a regular file for reading, and nothing that was put in its place: opening a device does something already (a tape
 * rewinds, a watchdog begins to count), and a mount without `nodev` would let a container that may make nodes choose
 * which. So the name becomes a descriptor that can do nothing (O_PATH); what is seen to be a file by that is opened.
 *
 * Even that would wait, and this thread with it, for whoever holds a lease on the file (fcntl(2), F_SETLEASE), as long as
 * he likes up to the 45 seconds of sysctl fs.lease-break-time: hence O_NONBLOCK.
 *
 * @returns a descriptor the caller closes, or a negated errno: ESTALE when it is no regular file, EAGAIN for a lease
 */
export function openRegular(dirFd: number, name: string): number {
  const place = openAt(dirFd, name, O.PATH | O.NOFOLLOW);
  if (place < 0) return place;
  try {
    return isRegular(statFd(place)) ? openAt(AT_FDCWD, `/proc/self/fd/${place}`, O.RDONLY | O.NONBLOCK) : -ERRNO.ESTALE;
  } finally {
    closeFd(place);
  }
}

/**
 * Opens a file with O_NONBLOCK, again and again while somebody holds a lease on it: the first attempt has told him to give it up.
 *
 * @returns what `open` does, EAGAIN when he keeps it
 */
export function* openUnlessLeased(open: () => number): Generator<undefined, number, undefined> {
  let fd = open();
  for (const end = performance.now() + LEASE_PATIENCE_MS; fd === -ERRNO.EAGAIN && performance.now() < end; fd = open())
    yield undefined;
  return fd;
}
