import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { O, type OwnedFd, open, pipe } from '@ns/libc';
import { OutputPipe } from './output-pipe.ts';

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
  /** Those that are ours. */
  readonly #inherited: OwnedFd[] = [];
  readonly #outputs: (OutputPipe | undefined)[] = [];
  #stdinEnd: OwnedFd | undefined;
  /** Its number, also when a stream has it. */
  #stdinFd = -1;
  #stdin: Socket | undefined;

  /**
   * @param options - `keepWriters`: for those who collect, and wait for the end of the process: of the end of its outputs
   * they are not told before. For those who ask for streams it is the same
   */
  constructor(kinds: readonly [Stdio, Stdio, Stdio], { keepWriters = false } = {}) {
    const inherited: number[] = [];
    const borrowed: number[] = [];
    try {
      for (const kind of kinds) {
        if (typeof kind === 'number') borrowed.push(kind);
        inherited.push(this.#open(kind, inherited.length, keepWriters));
      }
    } catch (error) {
      this.#closeAll();
      throw error;
    }
    this.inherited = inherited;
    this.borrowed = borrowed;
  }

  #open(kind: Stdio, fd: number, keepWriter: boolean): number {
    if (typeof kind === 'number') return kind;
    if (kind === 'null') {
      const file = open('/dev/null', O.RDWR);
      this.#inherited.push(file);
      return file.fd;
    }
    if (fd > 0) {
      const output = new OutputPipe({ keepWriter });
      this.#outputs[fd - 1] = output;
      return output.inherited;
    }
    const { read, write } = pipe();
    this.#inherited.push(read);
    this.#stdinEnd = write;
    this.#stdinFd = write.fd;
    return read.fd;
  }

  /** Reads from the process; null when there is no pipe. Holds its descriptor until it was read to its end or destroyed. */
  get stdout(): Readable | null {
    return this.#outputs[0]?.stream ?? null;
  }

  /** As {@link stdout}. */
  get stderr(): Readable | null {
    return this.#outputs[1]?.stream ?? null;
  }

  /**
   * Reads an output to its end.
   *
   * @param fd - 1 stdout, 2 stderr
   * @param sink - gets each piece, to keep
   * @returns settles when the process has ended and nobody has the pipe open; at once when there is none
   */
  collect(fd: 1 | 2, sink: (data: Buffer) => void): Promise<void> {
    return this.#outputs[fd - 1]?.collect(sink) ?? Promise.resolve();
  }

  /** Settles at the end of all outputs that are collected. */
  get collected(): Promise<unknown> {
    return Promise.all(this.#outputs.map((output) => output?.ended));
  }

  /** Does now what {@link collect} would have to do: before the process writes, when there is time. */
  prepareToCollect(): void {
    for (const output of this.#outputs) output?.prepare();
  }

  /** Writes to the process; null when its stdin is no pipe of ours, or was closed unused. */
  get stdin(): Writable | null {
    if (this.#stdinEnd && !this.#stdin) {
      this.#stdin = new Socket({ fd: this.#stdinEnd.release(), readable: false, writable: true });
      // EPIPE: a process that ends without reading all of its input is no error of its caller.
      this.#stdin.on('error', () => {});
    }
    return this.#stdin ?? null;
  }

  /** Ends the process's input unless {@link stdin} was asked for. */
  closeUnusedStdin(): void {
    if (this.#stdin) return;
    this.#stdinEnd?.close();
    this.#stdinEnd = undefined;
  }

  /** The pipes of the process's 0, 1 and 2 by inode, as `/proc/PID/fd` names them; undefined for one that is none of ours. */
  get pipes(): readonly (number | undefined)[] {
    return [this.#stdinInode, ...[0, 1].map((index) => this.#outputs[index]?.inode)];
  }

  get #stdinInode(): number | undefined {
    const open = this.#stdin ? !this.#stdin.destroyed : this.#stdinEnd && !this.#stdinEnd.closed;
    return open ? fstatSync(this.#stdinFd).ino : undefined;
  }

  /** Lets go of what the process has inherited by now, or never will. Idempotent. */
  closeInherited(): void {
    for (const fd of this.#inherited) fd.close();
    for (const output of this.#outputs) output?.closeInherited();
  }

  /** Closes everything: there will be no process. */
  destroy(): void {
    this.closeInherited();
    this.destroyStdin();
    this.#closeAll();
  }

  #closeAll(): void {
    for (const fd of this.#inherited) fd.close();
    this.#stdinEnd?.close();
    for (const output of this.#outputs) output?.[Symbol.dispose]();
  }

  /** Do the streams keep the event loop alive? */
  ref(): void {
    for (const output of this.#outputs) output?.ref();
  }

  unref(): void {
    for (const output of this.#outputs) output?.unref();
  }

  /** The process is gone: nobody writes to it any more, and what it wrote is all there. */
  processEnded(): void {
    this.destroyStdin();
    for (const output of this.#outputs) output?.processEnded();
  }

  /**
   * Nothing is left that the process has started: its outputs end with what is there now. Anybody may have them open who was
   * handed them or has found them in /proc, and nobody waits for him.
   */
  drain(): void {
    for (const output of this.#outputs) output?.drain();
  }

  /** Nobody writes to the process any more: it is gone. */
  destroyStdin(): void {
    this.closeUnusedStdin();
    this.#stdin?.destroy();
  }
}
