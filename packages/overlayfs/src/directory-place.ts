import { AT_FDCWD, check, O, OwnedFd, openAt, openBound } from '@ns/libc';

/**
 * A directory: a path of the caller's own (`/proc/PID/root` and `/proc/self/fd/N/upper` included), or a descriptor, which
 * stays the caller's.
 */
export type DirectoryPlace = string | OwnedFd;

/** A descriptor of the directory to read it with and to resolve names below. The caller closes it. */
export function openDirectory(place: DirectoryPlace): OwnedFd {
  const [dirFd, path] = typeof place === 'string' ? [AT_FDCWD, place] : [place.fd, '.'];
  return new OwnedFd(check('openat', openAt(dirFd, path, O.RDONLY | O.DIRECTORY), { path: placeName(place) }));
}

/** How the place is called in an error. */
export function placeName(place: DirectoryPlace): string {
  return typeof place === 'string' ? place : place.procPath;
}

/** Opens the directory `name` itself below `dirFd`, never what a link leads to. Negated errno when it is none. */
export function openChildDirectory(dirFd: number, name: string): number {
  return openAt(dirFd, name, CHILD);
}

/** The same for a walk, which stays in it for longer than a call: a worker that is terminated meanwhile closes it. By `closeBound` the walk does. */
export function enterChildDirectory(dirFd: number, name: string): number {
  return openBound(dirFd, name, CHILD);
}

const CHILD = O.RDONLY | O.DIRECTORY | O.NOFOLLOW;
