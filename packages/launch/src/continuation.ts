import { eventfd, memfd, type OwnedFd, ResourceStack, SpecError, sendDescriptors, write } from '@ns/libc';
import { assembleProgram, type FdLayout, type Step } from './lowering.ts';
import { PreparedProgram } from './prepared-program.ts';

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
    this.#word = rollback.use(eventfd());
    sendDescriptors(status.fd, Buffer.from('.'), [this.#program.fd, this.#word.fd]);
    rollback.release();
  }

  /** Tells what to do. Once. */
  send(steps: readonly Step[] | PreparedProgram, layout: FdLayout): void {
    const bytes = programFor(steps, layout);
    for (let done = 0; done < bytes.length; ) done += write(this.#program.fd, bytes.subarray(done));
    // Not through the socket: of a message the kernel thinks that its sender is about to sleep, and lets the receiver
    // have the same CPU.
    write(this.#word.fd, one);
  }

  [Symbol.dispose](): void {
    this.#program.close();
    this.#word.close();
  }
}

function programFor(steps: readonly Step[] | PreparedProgram, layout: FdLayout): Buffer {
  if (!(steps instanceof PreparedProgram)) return assembleProgram(steps, layout);
  if (steps.variables.length > 0) throw new SpecError('steps', 'a program without variables', steps.variables);
  if (!steps.isFor(layout))
    throw new SpecError('steps', 'a program prepared for the descriptors of the launch', steps.layout);
  return steps.bytes;
}

/** What is added to an eventfd. */
const one = Buffer.from(BigUint64Array.of(1n).buffer);
