import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { O, type OwnedFd, open, pipe, ResourceStack } from '@ns/libc';

/** Where a standard stream of the payload leads: a pipe to us, /dev/null, or a descriptor of ours. */
export type Stdio = 'pipe' | 'null' | number;

/**
 * stdin, stdout and stderr of a process that is yet to be started. Their pipes exist at once, so streams can be handed
 * out before there is a process; Node's streams around them only when somebody asks, which is best done while the
 * process starts.
 */
export class StandardStreams {
  /** What the process inherits as 0, 1 and 2. */
  readonly inherited: readonly number[];
  /** Those of them that are the caller's. */
  readonly borrowed: readonly number[];
  readonly #inherited: ResourceStack;
  #stdinEnd: OwnedFd | undefined;
  #stdin: Socket | undefined;
  readonly #outputEnds: readonly (OwnedFd | undefined)[];
  readonly #outputs: Socket[] = [];

  constructor(kinds: readonly [Stdio, Stdio, Stdio]) {
    using rollback = new ResourceStack();
    const inherited = new ResourceStack();
    rollback.use(inherited);
    const ends = kinds.map((kind, fd): { here?: OwnedFd; there: number } => {
      if (typeof kind === 'number') return { there: kind };
      if (kind === 'null') return { there: inherited.use(open('/dev/null', O.RDWR)).fd };
      const { read, write } = pipe();
      const [here, there] = fd === 0 ? [write, read] : [read, write];
      rollback.use(here);
      return { here, there: inherited.use(there).fd };
    });
    rollback.release();
    const [stdin, ...outputs] = ends.map(({ here }) => here);
    this.#inherited = inherited;
    this.inherited = ends.map(({ there }) => there);
    this.borrowed = kinds.filter((kind) => typeof kind === 'number');
    this.#stdinEnd = stdin;
    this.#outputEnds = outputs;
  }

  /** Reads from the process; null when there is no pipe. Holds its descriptor until it was read to its end or destroyed. */
  get stdout(): Readable | null {
    return this.#output(0);
  }

  /** As {@link stdout}. */
  get stderr(): Readable | null {
    return this.#output(1);
  }

  #output(index: 0 | 1): Socket | null {
    const end = this.#outputEnds[index];
    if (!end) return null;
    this.#outputs[index] ??= new Socket({ fd: end.release(), readable: true, writable: false });
    return this.#outputs[index];
  }

  /** Writes to the process; null when its stdin is no pipe of ours, or was closed unused. */
  get stdin(): Writable | null {
    if (this.#stdinEnd && !this.#stdin) {
      this.#stdin = new Socket({ fd: this.#stdinEnd.release(), readable: false, writable: true });
    }
    return this.#stdin ?? null;
  }

  /** Ends the process's input unless {@link stdin} was asked for. */
  closeUnusedStdin(): void {
    if (this.#stdin) return;
    this.#stdinEnd?.close();
    this.#stdinEnd = undefined;
  }

  /** Lets go of what the process has inherited by now, or never will. Idempotent. */
  closeInherited(): void {
    this.#inherited[Symbol.dispose]();
  }

  /** Closes everything: there will be no process. */
  destroy(): void {
    this.closeInherited();
    this.destroyStdin();
    this.#outputEnds.forEach((end, index) => {
      const stream = this.#outputs[index];
      if (stream) stream.destroy();
      else end?.close();
    });
  }

  /** Do the streams keep the event loop alive? */
  ref(): void {
    for (const index of [0, 1] as const) this.#output(index)?.ref();
  }

  unref(): void {
    for (const index of [0, 1] as const) this.#output(index)?.unref();
  }

  /** Nobody writes to the process any more: it is gone. */
  destroyStdin(): void {
    this.closeUnusedStdin();
    this.#stdin?.destroy();
  }
}
