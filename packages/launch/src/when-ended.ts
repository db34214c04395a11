import { allocate, type OwnedFd, SYS, syscall, watchFd } from '@ns/libc';

/** Calls back once when the process of a pidfd has ended; owns and closes it. Keeps the event loop alive, unless told not to. */
export function whenEnded(pidfd: OwnedFd, callback: () => void): Pick<ReturnType<typeof watchFd>, 'unref'> {
  const watch = watchFd(pidfd.fd, { readable: true }, () => {
    watch.close();
    pidfd.close();
    callback();
  });
  return watch;
}

/** Has the process of a pidfd ended? */
export function hasEnded({ fd }: OwnedFd): boolean {
  readable.bytes.writeInt32LE(fd, 0);
  return syscall(SYS.ppoll, readable.address, 1, noTime.address, 0, 0) > 0;
}

/** struct pollfd: POLLIN. */
const readable = allocate(8);
readable.bytes.writeInt16LE(1, 4);
/** struct timespec. */
const noTime = allocate(16);
