import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { check, holdBriefly, type Memory, mapShared, memfd, type OwnedFd, SYS, syscall } from '@ns/libc';

/* The pid of a child that the zygote makes, the kernel writes into pages that we share with it, before the child's first
   instruction: nobody has to be woken to hear of it.

   When a worker thread is terminated, its processes end with it, and the kernel makes their zombies children of the main
   thread, where nobody knows of them. Which they are cannot be told by anything a process says of itself: one that Node has
   started could say the same. So a worker's table keeps them; it belongs to the process and outlives the thread. How a child
   ended, the kernel writes beside it when it is waited for: a thread may be terminated right after, and the pid be that of
   somebody else's child. */

const NAME = 'ns-children';
const SLOTS = 1024;
/** Size of a table in bytes: the id of its thread, the pids, and a word for one more than there is room for; then as many ends. */
export const TABLE_SIZE = 2 * 4 * SLOTS;
const SURPLUS = SLOTS - 1;
/** In place of a wait status, which is never negative. */
const NOT_WAITED_FOR = -1;
/** In place of a pid: there will be one. */
const AWAITED = -1;

/** The children of this thread: of a worker all, of the main thread those that it does not know yet. */
export class ChildTable {
  /** For a process that writes to it. */
  readonly file: OwnedFd = memfd(NAME, Buffer.alloc(TABLE_SIZE));
  readonly #memory: Memory = mapShared(this.file.fd, TABLE_SIZE);
  readonly #words = new Int32Array(this.#memory.bytes.buffer);
  #last = 0;

  constructor() {
    this.#words[0] = syscall(SYS.gettid);
  }

  /** Where the pid of the next child goes: an index. Undefined when there are too many. */
  reserve(): number | undefined {
    for (let i = 0; i < SURPLUS - 1; i++) {
      this.#last = (this.#last % (SURPLUS - 1)) + 1;
      if (this.#words[this.#last] !== 0) continue;
      this.#words[this.#last] = AWAITED;
      this.#words[SLOTS + this.#last] = NOT_WAITED_FOR;
      return this.#last;
    }
    return undefined;
  }

  /** The child for which the slot was reserved, if there is one; asked again, the main thread does not know it any more. */
  take(slot: number): number | undefined {
    const pid = this.#words[slot]!;
    if (pid <= 0) return undefined;
    if (isMainThread) this.#words[slot] = 0;
    return pid;
  }

  /** There was, and will be, no child. */
  giveBack(slot: number): void {
    this.#words[slot] = 0;
  }

  /** Where wait4(2) has to write the status of this child. */
  endAddress(pid: number): number | undefined {
    const slot = this.#slotOf(pid);
    return slot && this.#memory.address + 4 * (SLOTS + slot);
  }

  /** One word of it, to be written to; of those for whom there is no other, the same. */
  word(slot = SURPLUS): Int32Array {
    return this.#words.subarray(slot, slot + 1);
  }

  /** This thread has waited for it. Gives back its wait status. */
  forget(pid: number): number | undefined {
    const slot = this.#slotOf(pid);
    if (!slot) return undefined;
    this.#words[slot] = 0;
    return this.#words[SLOTS + slot];
  }

  /** Gives the pages back, if there is nobody who would have to be found. Returns false if there is. */
  release(): boolean {
    const isNeeded = this.#words.subarray(1, SURPLUS).some((pid) => pid > 0 || (isMainThread && pid === AWAITED));
    if (!isNeeded) syscall(SYS.munmap, this.#memory.address, TABLE_SIZE);
    if (!isNeeded || !isMainThread) this.file.close();
    return !isNeeded;
  }

  #slotOf(pid: number): number | undefined {
    const slot = this.#words.subarray(1, SURPLUS).indexOf(pid) + 1;
    return slot > 0 ? slot : undefined;
  }
}

let children: ChildTable | undefined;

/** That of this thread. */
export function childTable(): ChildTable {
  children ??= new ChildTable();
  return children;
}

/** Where wait4(2) has to write the status of a child of this thread; undefined where that is nobody else's business. */
export function childEndAddress(pid: number): number | undefined {
  if (isMainThread) return undefined;
  return children?.endAddress(pid);
}

/** This thread has waited for a child of its own. Gives back the wait status that was written to {@link childEndAddress}. */
export function forgetChild(pid: number): number | undefined {
  if (isMainThread) return undefined;
  return children?.forget(pid);
}

/** Nothing was started for a while, or the thread ends, and this is the last that it does. Returns false while somebody is in it. */
export function releaseChildTable(): boolean {
  if (children && !children.release()) return false;
  children = undefined;
  return true;
}

/** What a thread that is gone has left. */
export interface LeftChildren {
  /** Those that nobody has waited for, and where wait4(2) has to write their status. */
  readonly pids: ReadonlyMap<number, number>;
  /** Only the main thread may: what two threads gave back could be somebody else's by then. */
  release(): void;
}

/** The tables of threads that are gone. Of a process that has become another user's they cannot be read. */
export function childrenOfEndedWorkers(alive: (thread: number) => boolean): LeftChildren[] {
  let memory: number;
  try {
    memory = holdBriefly(() => openSync('/proc/self/mem', 'r'));
  } catch {
    return [];
  }
  try {
    return tables().flatMap((address) => {
      const words = new Int32Array(2 * SLOTS);
      if (readSync(memory, words, 0, TABLE_SIZE, address) < TABLE_SIZE) return [];
      // Without a thread it is just being made.
      if (words[0] === 0 || alive(words[0]!)) return [];
      return [
        {
          pids: new Map(
            [...words.subarray(0, SURPLUS).entries()]
              .filter(([slot, pid]) => slot > 0 && pid > 0 && words[SLOTS + slot] === NOT_WAITED_FOR)
              .map(([slot, pid]) => [pid, address + 4 * (SLOTS + slot)]),
          ),
          release: () => void check('munmap', syscall(SYS.munmap, address, TABLE_SIZE)),
        },
      ];
    });
  } finally {
    closeSync(memory);
  }
}

/** Addresses of all tables in this process. */
function tables(): number[] {
  return holdBriefly(() => readFileSync('/proc/self/maps', 'latin1'))
    .split('\n')
    .flatMap((line) => (line.includes(`/memfd:${NAME} `) ? [Number.parseInt(line, 16)] : []));
}
