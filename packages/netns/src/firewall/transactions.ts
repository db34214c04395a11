import { hasCode } from '@ns/libc';
import { NetlinkError, type NetlinkRequest, type NetlinkSocket, nftablesBatch } from '@ns/netlink';

/* How requests are carried out where the kernel may have less, or more, than they speak of. */

/** Carries out removals in one transaction; what is gone already does not matter. */
export function remove(socket: NetlinkSocket, requests: readonly NetlinkRequest[]): void {
  try {
    if (requests.length > 0) socket.transaction(nftablesBatch(requests));
  } catch (error) {
    if (!isMissing(error)) throw error;
    // One that is missing undoes the whole transaction, so then each gets its own.
    if (requests.length > 1) removeEach(socket, requests);
  }
}

/** Carries out removals one by one; what is gone already does not matter. */
export function removeEach(socket: NetlinkSocket, requests: readonly NetlinkRequest[]): void {
  for (const request of requests) {
    try {
      socket.transaction(nftablesBatch([request]));
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
}

/**
 * A transaction that happens or not: what it is about is missing, in use, or another's.
 *
 * @returns it happened
 */
export function attempt(socket: NetlinkSocket, requests: readonly NetlinkRequest[]): boolean {
  try {
    socket.transaction(nftablesBatch(requests));
    return true;
  } catch (error) {
    if (!hasCode(error, 'EBUSY', 'EEXIST', 'ENOENT')) throw error;
    return false;
  }
}

/** Does the kernel find what a request asks for? */
export function finds(socket: NetlinkSocket, request: NetlinkRequest): boolean {
  try {
    socket.request(request);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Did the kernel not find what a request is about? */
export function isMissing(error: unknown): boolean {
  return error instanceof NetlinkError && error.code === 'ENOENT';
}
