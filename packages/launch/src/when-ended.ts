import { type OwnedFd, watchFd } from '@ns/libc';

/** Calls back once when the process of a pidfd has ended; owns and closes it. */
export function whenEnded(pidfd: OwnedFd, callback: () => void): void {
  const watch = watchFd(pidfd.fd, { readable: true }, () => {
    watch.close();
    pidfd.close();
    callback();
  });
}
