import {
  allocate,
  check,
  eventfd,
  type Memory,
  memfd,
  type OwnedFd,
  ResourceStack,
  SpecError,
  SYS,
  sendDescriptors,
  syscall,
} from '@ns/libc';
import { ContinuationImage } from './continuation-image.ts';
import type { Origin } from './launch-report.ts';
import type { FdLayout, Step } from './lowering.ts';
import { PreparedProgram } from './prepared-program.ts';

/**
 * What is shared with a process at a `receiveSteps` step: where its next program will be, and by what it is told to begin. Made
 * while nobody waits.
 */
export class Continuation implements Disposable {
  readonly #layout: FdLayout;
  readonly #program: OwnedFd;
  readonly #word: OwnedFd;
  /** What was written before it was known. */
  #likely:
    | { readonly program: PreparedProgram; readonly variables: readonly string[]; readonly origin: Origin }
    | undefined;

  /**
   * @param layout - the descriptors of the launch
   * @throws SyscallError `EPIPE` when the process is gone
   */
  constructor(status: OwnedFd, layout: FdLayout) {
    this.#layout = layout;
    using rollback = new ResourceStack();
    this.#program = rollback.use(memfd('ns-program', Buffer.alloc(0)));
    check('fallocate', syscall(SYS.fallocate, this.#program.fd, 0, 0, ROOM));
    this.#word = rollback.use(eventfd());
    sendDescriptors(status.fd, Buffer.from('.'), [this.#program.fd, this.#word.fd]);
    rollback.release();
  }

  /** Says what it will probably have to do. */
  prepare(program: PreparedProgram, variables: readonly string[]): void {
    this.#likely = { program, variables, origin: this.#assign(program, variables) };
  }

  /**
   * Says what to do, in place of what was said before.
   *
   * @returns what a failure of it is explained from
   * @throws SpecError for a program that was prepared for other descriptors or variables
   */
  instruct(steps: readonly Step[] | PreparedProgram, variables: readonly string[]): Origin {
    const likely = this.#likely;
    return likely?.program === steps && isSame(likely.variables, variables)
      ? likely.origin
      : this.#assign(steps, variables);
  }

  /** Tells it to begin. */
  tell(): void {
    // Not through the socket: of a message the kernel thinks that its sender is about to sleep, and lets the receiver
    // have the same CPU.
    check('write', syscall(SYS.write, this.#word.fd, word.address, word.bytes.length));
  }

  #assign(steps: readonly Step[] | PreparedProgram, variables: readonly string[]): Origin {
    const layout = this.#layout;
    if (!(steps instanceof PreparedProgram)) {
      this.#write(new ContinuationImage(steps, layout).with([]));
      return { steps, layout, variables: [] };
    }
    if (!steps.isFor(layout))
      throw new SpecError('steps', 'a program prepared for the descriptors of the launch', steps.layout);
    this.#write(steps.continuation.with(variables));
    return { steps: steps.steps, layout, variables: [], asLaunched: () => steps.stepsFor(variables) };
  }

  #write({ address, bytes }: Memory): void {
    for (let done = 0; done < bytes.length; ) {
      const rest = [address + done, bytes.length - done, done] as const;
      done += check('pwrite64', syscall(SYS.pwrite64, this.#program.fd, ...rest));
    }
  }

  [Symbol.dispose](): void {
    this.#program.close();
    this.#word.close();
  }
}

function isSame(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((text, i) => text === others[i]);
}

/** What most programs fit in: a page, which the process has mapped when its program comes. */
const ROOM = 4096;

/** What is added to an eventfd. */
const word = allocate(8);
word.bytes.writeBigUInt64LE(1n);
