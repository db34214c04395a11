import { isMainThread } from 'node:worker_threads';
import {
  addressOf,
  allocate,
  check,
  ERRNO,
  IdleTimer,
  MSG,
  memfd,
  type OwnedFd,
  ResourceStack,
  SOCK,
  SOL_SOCKET,
  SYS,
  socketPair,
  syscall,
} from '@ns/libc';
import { caretakerProgram } from './caretaker-program.ts';
import { releaseChildTable } from './child-table.ts';
import { type Belongings, PLACES, placeMessage, recordsOf } from './entrusted.ts';
import { reapLater } from './late-reaping.ts';
import { reapOrphans } from './orphans.ts';
import { posixSpawn } from './posix-spawn.ts';
import { ReapedChild } from './reaped-child.ts';
import { SIGNAL_RETIRE, SIGNALS } from './signals.ts';
import { openStage } from './stage-image.ts';

/* A monitor removes what belongs to its container when its caller dies. But before the monitor is there something of it is
   already, and some of it still is when the monitor has gone. For those moments there is one more process, for each thread of
   Node that has any containers: the caretaker. It sleeps, and is not woken by what it is told. */

const SO_PASSCRED = 16; // <asm-generic/socket.h>
/** How many messages may wait to be read: far less than there is room for. */
const MOST_UNREAD = 16;
/** How long it waits for something else to be entrusted, at least. */
const IDLE_MS = 250;

/** Removes what belongs to the thread that made it, when that dies. */
class Caretaker {
  readonly #child: ReapedChild;
  readonly #socket: OwnedFd;
  #unread = 0;

  constructor() {
    using owned = new ResourceStack();
    const [socket, theirs] = socketPair(SOCK.STREAM);
    using rollback = new ResourceStack();
    rollback.use(socket);
    owned.use(theirs);
    const on = allocate(4);
    on.bytes.writeInt32LE(1);
    check('setsockopt', syscall(SYS.setsockopt, theirs.fd, SOL_SOCKET, SO_PASSCRED, on.address, 4));
    const requester = { pid: process.pid, uid: process.getuid!(), gid: process.getgid!() };
    const bytes = caretakerProgram(requester, { isThread: !isMainThread });
    const program = owned.use(memfd('ns-program', bytes)).fd;
    const descriptors = [program, program, program, program, theirs.fd];
    this.#child = new ReapedChild(posixSpawn(owned.use(openStage()).fd, 'ns-init', descriptors));
    this.#socket = socket;
    rollback.release();
  }

  /** Returns false when there is nobody who will read it. */
  tell(message: Buffer): boolean {
    const { fd } = this.#socket;
    const send = () => syscall(SYS.sendto, fd, addressOf(message), message.length, MSG.NOSIGNAL | MSG.DONTWAIT, 0, 0);
    let result = send();
    for (let attempt = 0; result === -ERRNO.EAGAIN && attempt < 10; attempt++) {
      this.#wake();
      room.bytes.writeInt32LE(fd, 0);
      syscall(SYS.ppoll, room.address, 1, soon.address, 0, 0);
      result = send();
    }
    if (++this.#unread >= MOST_UNREAD) this.#wake();
    return result === message.length;
  }

  #wake(): void {
    this.#unread = 0;
    syscall(SYS.kill, this.#child.pid, SIGNALS.SIGUSR1);
  }

  /** Ends, and removes nothing. */
  retire(): void {
    if (!this.#child.hasEnded()) syscall(SYS.kill, this.#child.pid, SIGNAL_RETIRE);
    this.#socket.close();
    reapLater(this.#child);
  }

  /** The same, for when there is no event loop any more. */
  end(): void {
    if (!this.#child.hasEnded()) syscall(SYS.kill, this.#child.pid, SIGNALS.SIGKILL);
    while (!this.#child.hasEnded()) syscall(SYS.sched_yield);
  }
}

let caretaker: Caretaker | undefined;
let endsWithWorker = false;
/** What it has been told, by place: another one has to be told, too. */
const told = new Map<number, Buffer>();
/** No place below is free. */
let lowest = 0;

const idle = new IdleTimer(
  () => IDLE_MS,
  () => told.size === 0 && endCaretaker(),
);

/**
 * Has something removed when this thread dies, by SIGKILL or otherwise, and its process with it or not: until it is disposed
 * of. It costs some microseconds; the first after a while, the start of a small process.
 *
 * Call it before what is named is made. What was already removed by then is no error, and what others go on with is theirs: two
 * may remove the same. A thread has room for 4,096 messages of 8 KiB: what does not fit is not seen to.
 *
 * @throws SpecError a relative path, one with a NUL, or what is too large
 * @example
 * ```ts
 * using _ = entrust({ cgroups: ['/sys/fs/cgroup/jobs/42'] });
 * ```
 */
export function entrust(belongings: Belongings): Disposable {
  idle.use();
  const places = recordsOf(belongings).flatMap((records) => {
    const place = freePlace();
    if (place === undefined) return [];
    const message = placeMessage(place, records);
    tell(message);
    told.set(place, message);
    return [place];
  });
  return {
    [Symbol.dispose]() {
      idle.use();
      for (const place of places.splice(0)) {
        told.delete(place);
        lowest = Math.min(lowest, place);
        // One that does not hear of it would remove what lives on: another one is made, which knows what is left.
        if (caretaker) tell(placeMessage(place));
      }
    },
  };
}

/** The lowest: what is entrusted in several messages keeps its order. */
function freePlace(): number | undefined {
  while (told.has(lowest)) lowest++;
  return lowest < PLACES ? lowest : undefined;
}

/** Where there can be no caretaker, nothing else can be started, which says so. */
function tell(message: Buffer): void {
  if (caretaker?.tell(message)) return;
  endCaretaker();
  try {
    reapOrphans();
    const made = new Caretaker();
    if (!isMainThread && !endsWithWorker) process.once('exit', endWithWorker);
    endsWithWorker = true;
    for (const known of [...told.values(), message]) made.tell(known);
    caretaker = made;
  } catch {}
}

/** What is still entrusted it has to see to; then the main thread reaps it. */
function endWithWorker(): void {
  if (told.size > 0) return;
  caretaker?.end();
  releaseChildTable();
}

/** Ends the process; the next that is entrusted makes a new one, which sees to all. */
export function endCaretaker(): void {
  caretaker?.retire();
  caretaker = undefined;
}

/** struct pollfd: POLLOUT. */
const room = allocate(8);
room.bytes.writeInt16LE(4, 4);
/** struct timespec: longer than a process takes to read what it was sent. */
const soon = allocate(16);
soon.bytes.writeBigInt64LE(20_000_000n, 8);
