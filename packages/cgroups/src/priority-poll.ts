import { allocate, check, type FdWatch, O, OwnedFd, SYS, syscall, watchFd } from '@ns/libc';

/* Waiting for POLLPRI, by which kernfs and PSI announce changes. libuv has it, koffi's door to libuv does not: so the
   descriptors are gathered in an epoll instance of ours, which libuv watches as one readable descriptor. Thousands of
   cgroups cost the event loop a single entry. */

const EPOLLPRI = 2;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;

// struct epoll_event is packed on x86_64 only.
const eventSize = process.arch === 'x64' ? 12 : 16;
const dataOffset = eventSize - 8;
const eventsPerWait = 64;

interface Waiter {
  readonly onReady: () => void;
  keepsAlive: boolean;
}

interface Gathering {
  readonly epoll: OwnedFd;
  readonly watch: FdWatch;
  readonly waiters: Map<number, Waiter>;
}

let gathering: Gathering | undefined;
const received = allocate(eventSize * eventsPerWait);

/**
 * Calls back whenever the descriptor has POLLPRI or POLLERR, until the watch is closed. The callback reads the file,
 * which is what makes the condition go away.
 *
 * @param fd - stays the caller's; close the watch before closing it
 */
export function watchPriority(fd: number, onReady: () => void): FdWatch {
  gathering ??= gather();
  const { epoll, waiters } = gathering;
  const event = allocate(eventSize);
  event.bytes.writeUInt32LE(EPOLLPRI, 0);
  event.bytes.writeInt32LE(fd, dataOffset);
  check('epoll_ctl', syscall(SYS.epoll_ctl, epoll.fd, EPOLL_CTL_ADD, fd, event.address));
  const waiter: Waiter = { onReady, keepsAlive: true };
  waiters.set(fd, waiter);
  updateReference();
  const close = (): void => {
    if (waiters.get(fd) !== waiter) return;
    waiters.delete(fd);
    syscall(SYS.epoll_ctl, epoll.fd, EPOLL_CTL_DEL, fd, event.address);
    updateReference();
  };
  const setKeepsAlive = (keepsAlive: boolean) => () => {
    waiter.keepsAlive = keepsAlive;
    updateReference();
  };
  return { close, ref: setKeepsAlive(true), unref: setKeepsAlive(false), [Symbol.dispose]: close };
}

function gather(): Gathering {
  const epoll = new OwnedFd(check('epoll_create1', syscall(SYS.epoll_create1, O.CLOEXEC)));
  return { epoll, watch: watchFd(epoll.fd, { readable: true }, dispatch), waiters: new Map() };
}

function dispatch(): void {
  if (!gathering) return;
  const { epoll, waiters } = gathering;
  const count = syscall(SYS.epoll_pwait, epoll.fd, received.address, eventsPerWait, 0, 0, 0);
  const ready = Array.from({ length: Math.max(count, 0) }, (_, index) =>
    received.bytes.readInt32LE(index * eventSize + dataOffset),
  );
  // Looked up one by one: what one callback closes is not called any more.
  for (const fd of ready) waiters.get(fd)?.onReady();
}

/** The event loop stays alive while somebody waits who wants that; with nobody left everything is closed. */
function updateReference(): void {
  if (!gathering) return;
  const { epoll, watch, waiters } = gathering;
  if (waiters.size === 0) {
    gathering = undefined;
    watch.close();
    epoll.close();
    return;
  }
  if ([...waiters.values()].some((waiter) => waiter.keepsAlive)) watch.ref();
  else watch.unref();
}
