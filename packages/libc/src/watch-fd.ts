import { O } from './constants.ts';
import { ERRNO } from './errno.ts';
import { check } from './errors.ts';
import { OwnedFd } from './fd.ts';
import { IdleTimer } from './idle-timer.ts';
import { syscall } from './libc.ts';
import { type FdWatch, type LoopHandle, watchFdAlone } from './loop-handle.ts';
import { allocate } from './memory.ts';
import { SYS } from './syscalls.ts';

/* A handle of the event loop takes some sixty microseconds to make: more than all else that a start asks of the kernel.
   So there is one, for an epoll set, and watching a descriptor is adding it to the set. */

/** What {@link watchFd} waits for. */
export interface WatchedEvents {
  readonly readable?: boolean;
  readonly writable?: boolean;
  /** The other side has closed its end, or half of it: EPOLLRDHUP. */
  readonly disconnect?: boolean;
  readonly prioritized?: boolean;
}

/** A watch whose events can be changed. */
export interface EventWatch extends FdWatch {
  /** Waits for these events from now on. */
  change(events: WatchedEvents): void;
}

// <sys/epoll.h>
const EPOLLIN = 1;
const EPOLLPRI = 2;
const EPOLLOUT = 4;
const EPOLLERR = 8;
const EPOLLHUP = 0x10;
const EPOLLRDHUP = 0x2000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;

// struct epoll_event is packed on x86_64 only.
const DATA_AT = process.arch === 'x64' ? 4 : 8;
const EVENT_SIZE = DATA_AT + 8;
const MOST_EVENTS = 64;
const events = allocate(MOST_EVENTS * EVENT_SIZE);
const registration = allocate(EVENT_SIZE);
const FIONBIO = 0x5421; // <asm-generic/ioctls.h>
const yes = allocate(4);
yes.bytes.writeInt32LE(1);

/** How long the set stays at least when nothing is watched: services begin again soon. */
const IDLE_MS = 500;

type Callback = (status: number, ready: Required<WatchedEvents>) => void;

/** By number, which is never given twice: an event may be read when its watch is closed and its descriptor another. */
const watched = new Map<number, Watch>();
let lastNumber = 0;
let keepingAlive = 0;
let set: LoopHandle | undefined;
const idle = new IdleTimer(() => IDLE_MS, closeUnusedSet);

/**
 * Watch a descriptor that libuv has no type for (pidfd, inotify, eventfd, PSI trigger, seqpacket socket) in the event
 * loop of this thread, without a helper thread.
 *
 * @param fd - stays the caller's; close the watch before closing it. It becomes non-blocking
 * @param wanted - what to wait for
 * @param callback - receives a negated errno (0: none) and what is ready
 * @returns `close()` ends the watch; `change()` waits for other events; `ref()`/`unref()` say whether it keeps the event
 * loop alive (it does at first)
 * @throws SyscallError `EEXIST` when the descriptor is watched already, `EPERM` for a file, which is always ready
 */
export function watchFd(fd: number, wanted: WatchedEvents, callback: Callback): EventWatch {
  return new Watch(openSet(), fd, wanted, callback);
}

class Watch implements EventWatch {
  readonly #epoll: number;
  readonly #fd: number;
  readonly #number = ++lastNumber;
  readonly callback: Callback;
  wanted: number;
  #open = true;
  #keepsAlive = false;

  constructor(epoll: number, fd: number, wanted: WatchedEvents, callback: Callback) {
    this.#epoll = epoll;
    this.#fd = fd;
    this.callback = callback;
    this.wanted = maskOf(wanted);
    this.#register(EPOLL_CTL_ADD);
    // As libuv does: whoever reads until there is nothing must not be held.
    syscall(SYS.ioctl, fd, FIONBIO, yes.address);
    watched.set(this.#number, this);
    this.#keepAlive(true);
  }

  close(): void {
    if (!this.#open) return;
    this.#keepAlive(false);
    this.#open = false;
    watched.delete(this.#number);
    // One that its owner has closed already is not in the set any more.
    syscall(SYS.epoll_ctl, this.#epoll, EPOLL_CTL_DEL, this.#fd, registration.address);
    if (watched.size === 0) idle.use();
  }

  change(events: WatchedEvents): void {
    if (!this.#open) return;
    this.wanted = maskOf(events);
    this.#register(EPOLL_CTL_MOD);
  }

  ref(): void {
    this.#keepAlive(true);
  }

  unref(): void {
    this.#keepAlive(false);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #register(operation: number): void {
    registration.bytes.writeUInt32LE(this.wanted, 0);
    registration.bytes.writeDoubleLE(this.#number, DATA_AT);
    check('epoll_ctl', syscall(SYS.epoll_ctl, this.#epoll, operation, this.#fd, registration.address));
  }

  #keepAlive(wish: boolean): void {
    if (wish === this.#keepsAlive || !this.#open) return;
    this.#keepsAlive = wish;
    keepingAlive += wish ? 1 : -1;
    if (wish && keepingAlive === 1) set?.ref();
    if (!wish && keepingAlive === 0) set?.unref();
  }
}

function maskOf({ readable, writable, disconnect, prioritized }: WatchedEvents): number {
  return (
    (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0) | (disconnect ? EPOLLRDHUP : 0) | (prioritized ? EPOLLPRI : 0)
  );
}

/**
 * Makes ahead of time what {@link watchFd} makes when there is nothing of it, which may fail: before there is anything that
 * would have to be watched.
 *
 * @throws SyscallError as `watchFd`
 */
export function prepareToWatch(): void {
  openSet();
  idle.use();
}

/** The descriptor of the set. */
function openSet(): number {
  set ??= makeSet();
  return set.fd;
}

function makeSet(): LoopHandle {
  using epoll = new OwnedFd(check('epoll_create1', syscall(SYS.epoll_create1, O.CLOEXEC)));
  const made = watchFdAlone(epoll.fd, deliver);
  made.unref();
  return made;
}

function closeUnusedSet(): void {
  if (watched.size > 0) return;
  set?.close();
  set = undefined;
}

/** What is ready, as poll(2) says it and libuv passes it on. More than fits is ready again in the next turn. */
function deliver(): void {
  if (!set) return;
  const count = syscall(SYS.epoll_pwait, set.fd, events.address, MOST_EVENTS, 0, 0, 8);
  // Decoded first: a callback may come back here, through a nested loop of its own.
  const ready: { number: number; found: number }[] = [];
  for (let i = 0; i < count; i++)
    ready.push({
      number: events.bytes.readDoubleLE(i * EVENT_SIZE + DATA_AT),
      found: events.bytes.readUInt32LE(i * EVENT_SIZE),
    });
  for (const { number, found } of ready) {
    const watch = watched.get(number);
    if (!watch) continue;
    const failed = (found & EPOLLERR) !== 0 && (found & EPOLLPRI) === 0;
    if (failed) watch.close();
    // Nothing but the end: that is what whoever waits for anything wants to know.
    const bits = failed ? 0 : found === EPOLLHUP ? found | watch.wanted : found;
    // When it throws, what comes after it in the list is ready again in the next turn.
    watch.callback(failed ? -ERRNO.EBADF : 0, {
      readable: (bits & EPOLLIN) !== 0,
      writable: (bits & EPOLLOUT) !== 0,
      disconnect: (bits & EPOLLRDHUP) !== 0,
      prioritized: (bits & EPOLLPRI) !== 0,
    });
  }
}
