import { allocate, check, type FdWatch, O, OwnedFd, SYS, syscall, watchFdAlone } from '@ns/libc';

const EPOLLPRI = 2;
const EPOLL_CTL_ADD = 1;

// struct epoll_event is packed on x86_64 only; its data stays 0, for there is one descriptor.
const eventSize = process.arch === 'x64' ? 12 : 16;

/**
 * Calls back whenever a descriptor has POLLPRI or POLLERR, by which kernfs and PSI announce changes.
 *
 * libuv can wait for that, but Node has no way to ask it to. So the descriptor goes into an epoll instance of its own, which
 * becomes readable instead. Not into one shared by all: looking at a PSI trigger takes its event (psi_trigger_poll()
 * clears it), so by the time the shared instance were asked who it was, nobody would be it any more.
 *
 * @param fd - stays the caller's; close the watch before closing it
 * @param onReady - reads the file, which makes the condition of a kernfs file go away
 */
export function watchPriority(fd: number, onReady: () => void): FdWatch {
  using epoll = new OwnedFd(check('epoll_create1', syscall(SYS.epoll_create1, O.CLOEXEC)));
  const event = allocate(eventSize);
  event.bytes.writeUInt32LE(EPOLLPRI, 0);
  check('epoll_ctl', syscall(SYS.epoll_ctl, epoll.fd, EPOLL_CTL_ADD, fd, event.address));
  return watchFdAlone(epoll.fd, onReady);
}
