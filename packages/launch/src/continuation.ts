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
 * What is shared with a process at a `receiveSteps` step: where its program will be, and by what it is told that it is
 * there. Made while nobody waits.
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

  /** Tells what to do. Once. */
  send({ address, bytes }: Memory): void {
    for (let done = 0; done < bytes.length; )
      done += check('write', syscall(SYS.write, this.#program.fd, address + done, bytes.length - done));
    // Not through the socket: of a message the kernel thinks that its sender is about to sleep, and lets the receiver
    // have the same CPU.
    check('write', syscall(SYS.write, this.#word.fd, one.address, one.bytes.length));
  }

  [Symbol.dispose](): void {
    this.#program.close();
    this.#word.close();
  }
}

/** What most programs fit in: a page, which the process has mapped when its program comes. */
const ROOM = 4096;

/** What is added to an eventfd. */
const one = allocate(8);
one.bytes.writeBigUInt64LE(1n);
