import { AT_FDCWD, closeFd, ERRNO, O, openAt, statFd } from '@ns/libc';
import { isRegular } from './file-type.ts';

/**
 * Opens a regular file for reading, and nothing that was put in its place: opening a device does something already (a tape
 * rewinds, a watchdog begins to count), and a mount without `nodev` would let a container that may make nodes choose
 * which. So the name becomes a descriptor that can do nothing (O_PATH); what is seen to be a file by that is opened.
 *
 * @returns a descriptor the caller closes, or a negated errno: ESTALE when it is no regular file
 */
export function openRegular(dirFd: number, name: string): number {
  const place = openAt(dirFd, name, O.PATH | O.NOFOLLOW);
  if (place < 0) return place;
  try {
    return isRegular(statFd(place)) ? openAt(AT_FDCWD, `/proc/self/fd/${place}`, O.RDONLY) : -ERRNO.ESTALE;
  } finally {
    closeFd(place);
  }
}
