import { OwnedFd, ResourceStack, SOCK, SYS, socketPair, syscall } from '@ns/libc';
import { childTable } from './child-table.ts';
import { posixSpawn } from './posix-spawn.ts';
import type { ProgramFile } from './program-file.ts';
import { openStage } from './stage-image.ts';
import type { StandardStreams } from './standard-streams.ts';
import { StartedProcess } from './started-process.ts';
import { sendTexts } from './variable-texts.ts';
import { requestProcess } from './zygote.ts';

/** The descriptors of a new process. Ours are kept until it exists. */
export class Inheritance implements Disposable {
  readonly #program: ProgramFile;
  readonly #streams: StandardStreams;
  readonly #extra: readonly number[];
  readonly #named: readonly number[];
  readonly #copies = new ResourceStack();
  #copyOf: ReadonlyMap<number, number> | undefined;
  /** Of a request. */
  #slot: number | undefined;

  /**
   * @param program - ours from now on
   * @param streams - stay the caller's but for what the process inherits
   */
  constructor(program: ProgramFile, streams: StandardStreams, extra: readonly number[], named: readonly number[]) {
    this.#program = program;
    this.#streams = streams;
    this.#extra = extra;
    this.#named = named;
  }

  /** Starts the process here and now, also when a request was lost. */
  spawn(): StartedProcess {
    if (this.#slot) childTable().giveBack(this.#slot);
    this.#slot = undefined;
    using owned = new ResourceStack();
    const [status, theirs] = socketPair(SOCK.SEQPACKET);
    owned.use(theirs);
    using rollback = new ResourceStack();
    rollback.use(status);
    this.#sendTexts(status);
    const pid = posixSpawn(owned.use(openStage()).fd, 'ns-init', this.#descriptors(theirs.fd));
    rollback.release();
    return StartedProcess.spawned(status, pid);
  }

  /** Lets the zygote start it; undefined when that is not possible. */
  request(): StartedProcess | undefined {
    const [status, theirs] = socketPair(SOCK.SEQPACKET);
    let slot: number | undefined;
    try {
      this.#sendTexts(status);
      slot = requestProcess(this.#descriptors(theirs.fd));
    } finally {
      theirs.close();
      if (!slot) status.close();
    }
    if (!slot) return undefined;
    this.#slot = slot;
    this.#copyBorrowed();
    return StartedProcess.requested(status, slot);
  }

  /** They are there before the process is. */
  #sendTexts(status: OwnedFd): void {
    const { texts } = this.#program;
    if (texts) sendTexts(status, texts);
  }

  /** 0, 1, 2, … of the process: the order that the stage and Lowering expect. */
  #descriptors(statusFd: number): number[] {
    const all = this.#streams.inherited.concat(this.#program.fd, this.#extra, statusFd, this.#named);
    const copyOf = this.#copyOf;
    return copyOf ? all.map((fd) => copyOf.get(fd) ?? fd) : all;
  }

  /** Their owners may close them from now on; should the request be lost, they are needed once more. */
  #copyBorrowed(): void {
    const borrowed = [...this.#streams.borrowed, ...this.#extra, ...this.#named];
    if (borrowed.length === 0) return;
    const copies = new Map<number, number>();
    for (const fd of borrowed) {
      // One that cannot be copied now is missed only then.
      const copy = syscall(SYS.fcntl, fd, F_DUPFD_CLOEXEC, 3);
      if (copy >= 0) copies.set(fd, this.#copies.use(new OwnedFd(copy)).fd);
    }
    this.#copyOf = copies;
  }

  [Symbol.dispose](): void {
    this.#program[Symbol.dispose]();
    this.#streams.closeInherited();
    this.#copies[Symbol.dispose]();
  }
}

const F_DUPFD_CLOEXEC = 1030; // <linux/fcntl.h>
