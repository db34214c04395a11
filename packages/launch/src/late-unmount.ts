import { close } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { ioctl, O, OwnedFd, open } from '@ns/libc';

const PIDFD_GET_MNT_NAMESPACE = 0xff03; // <linux/pidfd.h>, since 6.11

/**
 * The mounts of a container are taken apart by whoever lets go of its mount namespace last. Its first process would do so
 * in the middle of its exit, before its parent may hear of that; and it takes longer than the rest of the exit, because the
 * kernel waits for all CPUs. A descriptor of the namespace puts that off.
 *
 * @returns undefined where it cannot be had: then it is as it would be without
 */
export function holdMountNamespace(pid: number, pidfd: OwnedFd | undefined): OwnedFd | undefined {
  const fd = pidfd ? ioctl(pidfd.fd, PIDFD_GET_MNT_NAMESPACE) : -1;
  if (fd >= 0) return new OwnedFd(fd);
  try {
    return open(`/proc/${pid}/ns/mnt`, O.RDONLY);
  } catch {
    return undefined;
  }
}

/**
 * Lets go of it, in a thread that has the time. Not before those who wait for the end of the container have heard of it: the
 * thread begins on their CPU. A worker waits for it, some milliseconds.
 */
export function unmountLater(namespace: OwnedFd): void {
  setImmediate(() => {
    // In a worker, Node warns of descriptors that it has not opened itself.
    if (isMainThread) close(namespace.release(), () => {});
    else namespace.close();
  });
}
