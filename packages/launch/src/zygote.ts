import { isMainThread } from 'node:worker_threads';
import {
  allocate,
  ERRNO,
  IdleTimer,
  MSG,
  memfd,
  type OwnedFd,
  pidfdOpen,
  ResourceStack,
  SCM_RIGHTS,
  SOCK,
  SOL_SOCKET,
  SYS,
  syscall,
  WNOHANG,
  watchFd,
} from '@ns/libc';
import { attend, endCaretaker } from './caretaker.ts';
import { childEndAddress, childTable, forgetChild, releaseChildTable } from './child-table.ts';
import { credentialSockets } from './credential-sockets.ts';
import { forgetInheritedState, inheritedState } from './inherited-state.ts';
import { reapOrphans } from './orphans.ts';
import { posixSpawn } from './posix-spawn.ts';
import { SIGNALS } from './signals.ts';
import { openStage } from './stage-image.ts';
import { MOST_FDS, TABLE_AT, zygoteProgram } from './zygote-program.ts';

/* posix_spawn(3) holds its caller until the new process has executed: half of what a start costs this thread. A process
   of a few pages can make others in a fraction of that time, while we go on: the zygote, one for each thread of Node. */

// struct msghdr, iovec, a word, cmsghdr with descriptors. One message at a time: calls are synchronous.
const VECTOR = 56;
const WORD = VECTOR + 16;
const CONTROL = WORD + 8;
const message = allocate(CONTROL + 16 + 4 * MOST_FDS);
message.bytes.writeBigUInt64LE(BigInt(message.address + VECTOR), 16);
message.bytes.writeBigUInt64LE(1n, 24);
message.bytes.writeBigUInt64LE(BigInt(message.address + CONTROL), 32);
message.bytes.writeBigUInt64LE(BigInt(message.address + WORD), VECTOR);
message.bytes.writeBigUInt64LE(8n, VECTOR + 8);
message.bytes.writeInt32LE(SOL_SOCKET, CONTROL + 8);
message.bytes.writeInt32LE(SCM_RIGHTS, CONTROL + 12);

/** Makes processes for the thread that made it, for as long as both are alike. */
export class Zygote {
  readonly #pid: number;
  readonly #socket: OwnedFd;
  readonly #state: string;

  constructor(state: string) {
    using owned = new ResourceStack();
    const [socket, theirs] = credentialSockets(SOCK.SEQPACKET);
    using rollback = new ResourceStack();
    rollback.use(socket);
    owned.use(theirs);
    const requester = {
      pid: process.pid,
      uid: process.getuid!(),
      gid: process.getgid!(),
      policy: syscall(SYS.sched_getscheduler, 0),
    };
    const program = owned.use(memfd('ns-program', zygoteProgram(requester))).fd;
    const table = childTable().file.fd;
    this.#pid = posixSpawn(owned.use(openStage()).fd, 'ns-init', [
      program,
      program,
      program,
      program,
      theirs.fd,
      table,
    ]);
    this.#socket = socket;
    this.#state = state;
    rollback.release();
  }

  isLike(state: string): boolean {
    return this.#state === state;
  }

  /**
   * @param slot - of {@link childTable}
   * @returns 0, or a negated errno: then there will be no process
   */
  request(fds: readonly number[], slot: number): number {
    const { bytes, address } = message;
    bytes.writeUInt32LE(16 + 4 * fds.length, 40);
    bytes.writeUInt32LE(TABLE_AT + 4 * slot, WORD);
    bytes.writeUInt32LE(16 + 4 * fds.length, CONTROL);
    for (let i = 0; i < fds.length; i++) bytes.writeInt32LE(fds[i]!, CONTROL + 16 + 4 * i);
    return Math.min(0, syscall(SYS.sendmsg, this.#socket.fd, address, MSG.NOSIGNAL | MSG.DONTWAIT));
  }

  /** Answers what it was asked, and ends. */
  retire(): void {
    this.#socket.close();
    if (this.#isReaped()) return;
    let pidfd: OwnedFd;
    try {
      pidfd = pidfdOpen(this.#pid);
    } catch {
      // Out of descriptors: a zombie is left, until this process ends.
      return;
    }
    const watch = watchFd(pidfd.fd, { readable: true }, () => {
      watch.close();
      pidfd.close();
      this.#isReaped();
    });
    watch.unref();
  }

  /** Ends at once; for when there is no event loop any more. */
  kill(): void {
    this.#socket.close();
    syscall(SYS.kill, this.#pid, SIGNALS.SIGKILL);
    while (syscall(SYS.wait4, this.#pid, childEndAddress(this.#pid) ?? 0, 0, 0) === -ERRNO.EINTR);
    forgetChild(this.#pid);
  }

  #isReaped(): boolean {
    if (syscall(SYS.wait4, this.#pid, childEndAddress(this.#pid) ?? 0, WNOHANG, 0) === 0) return false;
    forgetChild(this.#pid);
    return true;
  }
}

/** How long it waits for the next request at least, and how soon another start must follow a first one to be worth a zygote. */
export const patience = { idleMs: 500 };

const idle = new IdleTimer(() => patience.idleMs, rest);
let zygote: Zygote | undefined;
let endsWithWorker = false;
let starts = 0;
let losses = 0;
/** More are no accident: something on this machine does not let it live. */
const MOST_LOSSES = 3;

/**
 * Asks this thread's zygote for a process that finds the descriptors as 0, 1, 2, … and its program in descriptor 3. It is
 * our child in every respect. When nobody holds these descriptors any more and no pid is in its slot, there was no process.
 *
 * @returns its slot of {@link childTable}; undefined when nothing was asked, because there is no zygote, it cannot take a
 *   request now, or it would make another process than we would ourselves
 */
export function requestProcess(fds: readonly number[]): number | undefined {
  // Who starts a process now and then needs none.
  idle.use();
  attend();
  if (++starts < 2 || losses >= MOST_LOSSES || fds.length > MOST_FDS) return undefined;
  const state = inheritedState();
  if (state === undefined) {
    retireZygote();
    return undefined;
  }
  if (zygote && !zygote.isLike(state)) retireZygote();
  attend(state);
  zygote ??= tryMake(state);
  const slot = zygote && childTable().reserve();
  if (!slot) return undefined;
  const result = zygote!.request(fds, slot);
  if (result === 0) return slot;
  childTable().giveBack(slot);
  // Too many requests or descriptors under way are no reason to give it up.
  if (result === -ERRNO.EPIPE || result === -ERRNO.ECONNRESET) {
    losses++;
    retireZygote();
  }
  return undefined;
}

/** Nothing of ours is left when nothing has been started for a while. */
export function rest(): void {
  idle.stop();
  starts = 0;
  retireZygote();
  reapOrphans();
  // What was asked for is still to come: then nothing holds it any more.
  if (isMainThread && !releaseChildTable()) idle.use();
  forgetInheritedState();
}

function tryMake(state: string): Zygote | undefined {
  try {
    reapOrphans();
    const made = new Zygote(state);
    // The end of a worker is not the end of the process: nobody else would wait for what it leaves.
    if (!isMainThread && !endsWithWorker) process.once('exit', endWithWorker);
    endsWithWorker = true;
    return made;
  } catch {
    // What hinders it will hinder posix_spawn too, which says so.
    return undefined;
  }
}

function endWithWorker(): void {
  zygote?.kill();
  releaseChildTable();
}

/**
 * Ends the process by which this thread starts others quickly, and the one that removes what belongs to this thread when it
 * dies; the next start makes new ones, of which the second knows all that is entrusted. Until then nobody sees to that. It is
 * done by itself, without such a gap, when ids, groups, capabilities, no_new_privs, seccomp filters, namespaces, cgroup, umask, working directory, priority or
 * allowed processors of the thread have changed by the next start. Call it before the thread gives up privileges in another
 * way, such as Landlock: until then whoever commands this process commands one that still has them.
 */
export function endZygote(): void {
  retireZygote();
  endCaretaker();
}

function retireZygote(): void {
  zygote?.retire();
  zygote = undefined;
}
