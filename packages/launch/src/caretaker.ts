import { isMainThread } from 'node:worker_threads';
import {
  addressOf,
  allocate,
  ERRNO,
  IdleTimer,
  MSG,
  memfd,
  namespaceChanges,
  type OwnedFd,
  ResourceStack,
  SOCK,
  SYS,
  syscall,
} from '@ns/libc';
import { caretakerProgram } from './caretaker-program.ts';
import { releaseChildTable } from './child-table.ts';
import { credentialSockets } from './credential-sockets.ts';
import { type Belongings, PLACES, placeMessage, recordsOf, withoutRequests } from './entrusted.ts';
import { inheritedState } from './inherited-state.ts';
import { reapInPassing } from './late-reaping.ts';
import { reapOrphans } from './orphans.ts';
import { posixSpawn } from './posix-spawn.ts';
import { ReapedChild } from './reaped-child.ts';
import { SIGNAL_RETIRE, SIGNALS } from './signals.ts';
import { openStage } from './stage-image.ts';
import { hasChildrenElsewhere, networkNamespace } from './thread-namespaces.ts';

/* A monitor removes what belongs to its container when its caller dies. But before the monitor is there something of it is
   already, and some of it still is when the monitor has gone. For those moments there is one more process, for each thread of
   Node that has any containers: the caretaker. It sleeps, and is not woken by what it is told. */

/** How many messages may wait to be read: far less than there is room for. */
const MOST_UNREAD = 16;
/** How long it waits for something else to be entrusted, at least: its start holds the thread for a millisecond or two. */
export const patience = { idleMs: 2000 };

/** What was entrusted together, and in which network namespace. */
interface Entry {
  readonly records: readonly Buffer[];
  readonly network: string;
}

/** Removes what belongs to the thread that made it, when that dies. */
class Caretaker {
  readonly #child: ReapedChild;
  readonly #socket: OwnedFd;
  readonly #state: string | undefined;
  readonly #network = networkNamespace();
  #unread = 0;

  /** @param state - what it has of this thread */
  constructor(state: string | undefined) {
    using owned = new ResourceStack();
    const [socket, theirs] = credentialSockets(SOCK.STREAM);
    using rollback = new ResourceStack();
    rollback.use(socket);
    owned.use(theirs);
    const requester = { pid: process.pid, uid: process.getuid!(), gid: process.getgid!() };
    const bytes = caretakerProgram(requester, { thread: isMainThread ? undefined : syscall(SYS.gettid) });
    const program = owned.use(memfd('ns-program', bytes)).fd;
    const descriptors = [program, program, program, program, theirs.fd];
    this.#child = new ReapedChild(posixSpawn(owned.use(openStage()).fd, 'ns-init', descriptors));
    this.#socket = socket;
    this.#state = state;
    rollback.release();
  }

  isLike(state: string | undefined): boolean {
    return this.#state === state;
  }

  /**
   * @param entry - what is in this place from now on; nothing, if it is not given
   * @returns false when there is nobody who will read it
   */
  tell(place: number, entry?: Entry): boolean {
    const isHere = entry?.network === this.#network;
    const message = placeMessage(place, isHere ? entry.records : withoutRequests(entry?.records ?? []));
    let result = this.#send(message);
    for (let attempt = 0; result === -ERRNO.EAGAIN && attempt < 10; attempt++) {
      this.#wake();
      room.bytes.writeInt32LE(this.#socket.fd, 0);
      // ppoll(2) leaves in it what was left of the time.
      soon.bytes.writeBigInt64LE(SOON_NS, 8);
      syscall(SYS.ppoll, room.address, 1, soon.address, 0, 0);
      result = this.#send(message);
    }
    if (++this.#unread >= MOST_UNREAD) this.#wake();
    return result === message.length;
  }

  #send(message: Buffer): number {
    const { fd } = this.#socket;
    return syscall(SYS.sendto, fd, addressOf(message), message.length, MSG.NOSIGNAL | MSG.DONTWAIT, 0, 0);
  }

  #wake(): void {
    this.#unread = 0;
    this.#signal(SIGNALS.SIGUSR1);
  }

  /** Returns false when we may not signal it any more. */
  #signal(signal: number): boolean {
    return this.#child.hasEnded() || syscall(SYS.kill, this.#child.pid, signal) !== -ERRNO.EPERM;
  }

  /** Ends, and removes nothing. */
  retire(): void {
    // From another user than the one it was made for it takes no signal, and believes nothing.
    if (!this.#signal(SIGNAL_RETIRE)) this.#send(placeMessage(0));
    this.#socket.close();
    reapInPassing(this.#child);
  }

  /** The same, for when there is no event loop any more. */
  end(): void {
    this.#signal(SIGNALS.SIGKILL);
    while (!this.#child.hasEnded()) syscall(SYS.sched_yield);
  }
}

let caretaker: Caretaker | undefined;
let endsWithWorker = false;
/** What it has been told, by place: another one has to be told, too. */
const told = new Map<number, Entry>();
/** What several entrust alike, and how many do. */
const shared = new Map<string, { holders: number; readonly giveBack: () => void }>();
/** No place below is free. */
let lowest = 0;
let hasWarned = false;

const idle = new IdleTimer(
  () => patience.idleMs,
  () => told.size === 0 && endCaretaker(),
);

/**
 * Has something removed when this thread dies, by SIGKILL or otherwise, and its process with it or not: until it is disposed
 * of. It costs some tens of microseconds; the first after a while, the start of a small process, which waits some seconds for more.
 *
 * Call it before what is named is made. What was already removed by then is no error, and what others go on with is theirs: two
 * may remove the same. A thread has room for 4,096 messages of 8 KiB: what does not fit is not seen to, of which a warning with
 * the code `NS_TOO_MUCH_ENTRUSTED` tells once.
 *
 * It is removed with the privileges that this thread had when it last entrusted, gave back or started something. After
 * `unshare(CLONE_NEWPID)`, and after execve(2), nobody sees to it.
 *
 * @throws SpecError a relative path, one with a NUL, or what is too large
 * @example
 * ```ts
 * using _ = entrust({ cgroups: ['/sys/fs/cgroup/jobs/42'] });
 * ```
 */
export function entrust({ lastRequests = [], ...own }: Belongings): Disposable {
  const [messages, lastMessages] = [recordsOf(own), recordsOf({ lastRequests })];
  idle.use();
  attend();
  const givenBack = [...messages.map(takePlace), ...lastMessages.map(sharePlace)];
  return {
    [Symbol.dispose]() {
      idle.use();
      attend();
      for (const giveBack of givenBack.splice(0)) giveBack();
    },
  };
}

/** @returns gives it back */
function takePlace(records: readonly Buffer[]): () => void {
  const place = freePlace();
  if (place === undefined) return () => {};
  const entry = { records, network: networkNamespace() };
  told.set(place, entry);
  if (!caretaker?.tell(place, entry)) replace();
  return () => {
    told.delete(place);
    lowest = Math.min(lowest, place);
    // One that does not hear of it would remove what lives on: another one is made, which knows what is left.
    if (caretaker && !caretaker.tell(place)) replace();
  };
}

/** Those who entrust the same have one place, so that it is sent once: what the kernel refuses takes it milliseconds. */
function sharePlace(records: readonly Buffer[]): () => void {
  const key = `${networkNamespace()} ${Buffer.concat(records).toString('latin1')}`;
  const place = shared.get(key) ?? { holders: 0, giveBack: takePlace(records) };
  place.holders++;
  shared.set(key, place);
  return () => {
    if (--place.holders > 0) return;
    shared.delete(key);
    place.giveBack();
  };
}

/** The lowest: what is entrusted in several messages keeps its order. */
function freePlace(): number | undefined {
  while (told.has(lowest)) lowest++;
  if (lowest < PLACES) return lowest;
  if (!hasWarned)
    process.emitWarning(`of more than ${PLACES} things entrusted nobody will remove the rest when this thread dies`, {
      code: 'NS_TOO_MUCH_ENTRUSTED',
    });
  hasWarned = true;
  return undefined;
}

/**
 * Sees to it that there is a caretaker when something is entrusted, and that it may do no more than this thread may.
 *
 * @param state - that of the thread, where it is known already; else it is looked at only when there is reason to
 */
export function attend(state?: string): void {
  if (!caretaker && told.size === 0) return;
  const reason = mayHaveChanged();
  if (caretaker && state === undefined && !reason) return;
  const now = state ?? inheritedState();
  // What cannot be told now may be as it was: likely there are no descriptors left.
  if (caretaker && (now === undefined || caretaker.isLike(now))) return;
  replace(now);
}

/** What a thread has when it gives up privileges or enters another namespace: to ask for it costs next to nothing. */
let last = '';

function mayHaveChanged(): boolean {
  const { geteuid, getuid, getegid, getgid } = process;
  const now = `${getuid!()} ${geteuid!()} ${getgid!()} ${getegid!()} ${namespaceChanges()}`;
  if (now === last) return false;
  last = now;
  return true;
}

/** Makes another one that is told all. Where there can be none, nothing else can be started, which says so. */
function replace(state = inheritedState()): void {
  const former = caretaker;
  caretaker = undefined;
  try {
    // As the first of another pid namespace it would be the end of that.
    if (told.size === 0 || hasChildrenElsewhere()) return;
    reapOrphans();
    const made = new Caretaker(state);
    if (!isMainThread && !endsWithWorker) process.once('exit', endWithWorker);
    endsWithWorker = true;
    // One that knows only a part would be taken for one that knows all.
    if ([...told].every(([place, entry]) => made.tell(place, entry))) caretaker = made;
    else made.retire();
  } catch {
  } finally {
    // Two may remove the same, if we die now.
    former?.retire();
  }
}

/** What is still entrusted it has to see to; then the main thread reaps it. */
function endWithWorker(): void {
  if (told.size > 0) return;
  caretaker?.end();
  caretaker = undefined;
  releaseChildTable();
}

/** Ends the process; the next start, and whatever is entrusted or given back, makes a new one, which sees to all. */
export function endCaretaker(): void {
  caretaker?.retire();
  caretaker = undefined;
}

/** struct pollfd: POLLOUT. */
const room = allocate(8);
room.bytes.writeInt16LE(4, 4);
/** Longer than a process takes to read what it was sent. */
const SOON_NS = 20_000_000n;
/** struct timespec. */
const soon = allocate(16);
