import { hasCode, isAlive, type ProcessIdentity, pidfdOpen, watchFd } from '@ns/libc';

/** Calls back once when a process has ended, at once when it has already. Does not keep the event loop alive. */
export function whenGone(process: ProcessIdentity, callback: () => void): void {
  try {
    const pidfd = pidfdOpen(process.pid);
    if (isAlive(process)) {
      const watch = watchFd(pidfd.fd, { readable: true }, () => {
        watch.close();
        pidfd.close();
        callback();
      });
      watch.unref();
      return;
    }
    pidfd.close();
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error;
  }
  callback();
}
