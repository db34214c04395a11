import {
  allocate,
  check,
  eventfd,
  type Memory,
  memfd,
  type OwnedFd,
  ResourceStack,
  SYS,
  sendDescriptors,
  syscall,
} from '@ns/libc';

/**
 * What is shared with a process at a `receiveSteps` step: where its program will be, and by what it is told to begin. Made
 * while nobody waits.
 */
export class Continuation implements Disposable {
  readonly #program: OwnedFd;
  readonly #word: OwnedFd;

  /** @throws SyscallError `EPIPE` when the process is gone */
  constructor(status: OwnedFd) {
    using rollback = new ResourceStack();
    this.#program = rollback.use(memfd('ns-program', Buffer.alloc(0)));
    check('fallocate', syscall(SYS.fallocate, this.#program.fd, 0, 0, ROOM));
    this.#word = rollback.use(eventfd());
    sendDescriptors(status.fd, Buffer.from('.'), [this.#program.fd, this.#word.fd]);
    rollback.release();
  }

  /** Says what to do, in place of what was said before. */
  write({ address, bytes }: Memory): void {
    for (let done = 0; done < bytes.length; ) {
      const rest = [address + done, bytes.length - done, done] as const;
      done += check('pwrite64', syscall(SYS.pwrite64, this.#program.fd, ...rest));
    }
  }

  /** Tells it to begin. */
  tell(): void {
    // Not through the socket: of a message the kernel thinks that its sender is about to sleep, and lets the receiver
    // have the same CPU.
    check('write', syscall(SYS.write, this.#word.fd, word.address, word.bytes.length));
  }

  /** Takes that back, unless it has begun. Returns false if it has. */
  takeBack(): boolean {
    return syscall(SYS.read, this.#word.fd, taken.address, taken.bytes.length) > 0;
  }

  [Symbol.dispose](): void {
    this.#program.close();
    this.#word.close();
  }
}

/** What most programs fit in: a page, which the process has mapped when its program comes. */
const ROOM = 4096;

/** What is added to an eventfd; who reads it has it alone. */
const word = allocate(8);
word.bytes.writeBigUInt64LE(1n);
const taken = allocate(8);
