import { fstatSync } from 'node:fs';
import { finished } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { allocate, check, ERRNO, type FdWatch, type OwnedFd, pipe, SYS, syscall, watchFd } from '@ns/libc';
import { Deferred } from './deferred.ts';
import { disposeLater } from './late-disposal.ts';
import { Backlog, OutputStream } from './output-stream.ts';

/** What one read takes at most: all that a pipe holds. */
const chunk = allocate(65536);
/** How much is read in one turn of the event loop before others have theirs. */
const READS_IN_A_ROW = 8;

/**
 * A pipe that a process writes to, and our end of it.
 *
 * One who wants all that was written, once the process has ended, needs no stream: that costs more than the end
 * of a short command. {@link collect} does without, until somebody asks for the {@link stream} after all. And it may keep
 * the process's end open as well: otherwise the kernel wakes us when the process closes it, which is a moment before we are
 * told of its end, and mostly in the way of that.
 */
export class OutputPipe implements Disposable {
  readonly #reader: OwnedFd;
  /** Its number, also when a stream has it. */
  readonly #readerFd: number;
  readonly #writer: OwnedFd;
  readonly #keepsWriter: boolean;
  #inherited = false;
  #referenced = true;
  #stream: OutputStream | undefined;
  #sink: ((data: Buffer) => void) | undefined;
  #watch: FdWatch | undefined;
  /** When all who count are gone. */
  #backlog: Backlog | undefined;
  #atEnd = false;
  readonly #ended = new Deferred<void>();

  /** @param options.keepWriter - keep the process's end, unless somebody asks for the stream */
  constructor({ keepWriter }: { keepWriter: boolean }) {
    const { read, write } = pipe();
    this.#reader = read;
    this.#readerFd = read.fd;
    this.#writer = write;
    this.#keepsWriter = keepWriter;
  }

  /** The process's end. */
  get inherited(): number {
    return this.#writer.fd;
  }

  /** Which pipe it is: its inode, as `/proc/PID/fd` names it. Undefined when our end is closed. */
  get inode(): number | undefined {
    const open = this.#stream ? !this.#stream.destroyed : !this.#atEnd;
    return open ? fstatSync(this.#readerFd).ino : undefined;
  }

  /** A stream of what comes from now on. Holds its descriptor until it was read to its end or destroyed. */
  get stream(): OutputStream {
    // All was read already: then it is at its end.
    if (!this.#stream && this.#atEnd) this.#stream = new OutputStream().destroy();
    if (!this.#stream) {
      this.#watch?.close();
      this.#stream = new OutputStream();
      this.#stream.connect(this.#reader);
      if (this.#backlog) this.#stream.drain();
      if (!this.#referenced) this.#stream.unref();
      if (this.#inherited) this.#writer.close();
      if (this.#sink) this.#collectFrom(this.#stream, this.#sink);
    }
    return this.#stream;
  }

  /**
   * Reads all there will be.
   *
   * @param sink - gets each piece, to keep
   * @returns settles at the end: when everybody has closed the pipe, for which {@link processEnded} is needed if the
   * process's end is kept
   */
  async collect(sink: (data: Buffer) => void): Promise<void> {
    this.#sink = sink;
    if (this.#stream) {
      this.#collectFrom(this.#stream, sink);
    } else {
      // Who made the process may want its streams, and says so in the same turn. And it does not write yet.
      await nextTurn();
      this.#begin();
    }
    return this.ended;
  }

  /** Settles at the end of what is collected. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Does now what {@link collect} would have to do. */
  prepare(): void {
    this.#begin();
  }

  /** The process has its end by now, or never will. Idempotent. */
  closeInherited(): void {
    this.#inherited = true;
    if (!this.#keepsWriter || this.#stream) this.#writer.close();
  }

  /** Reads what is left, which mostly is the end. Who still holds the other end may go on. */
  processEnded(): void {
    this.#writer.close();
    this.#read();
  }

  /** Nobody who counts holds the other end any more: what is there now is all. */
  drain(): void {
    if (this.#stream) {
      this.#stream.drain();
    } else if (!this.#atEnd) {
      this.#backlog = new Backlog(this.#reader);
      this.#read();
    }
  }

  ref(): void {
    this.#setReferenced(true);
  }

  unref(): void {
    this.#setReferenced(false);
  }

  /** Closes it. Who collects is told that this is the end. */
  [Symbol.dispose](): void {
    this.#writer.close();
    if (this.#stream) this.#stream.destroy();
    else if (!this.#atEnd) this.#end((part) => part[Symbol.dispose]());
  }

  #begin(): void {
    if (this.#stream || this.#atEnd || this.#watch) return;
    this.#watch = watchFd(this.#reader.fd, { readable: true }, () => this.#read());
    if (!this.#referenced) this.#watch.unref();
    // All are gone already: then it may be that nothing happens any more.
    if (this.#backlog) this.#read();
  }

  #read(): void {
    // Before there is a watch, which makes it so, a read may block.
    if (!this.#watch || !this.#sink || this.#stream || this.#atEnd) return;
    for (let i = 0; i < READS_IN_A_ROW; i++) {
      const size = syscall(SYS.read, this.#reader.fd, chunk.address, chunk.bytes.length);
      if (size === -ERRNO.EINTR) continue;
      const isEmpty = size === -ERRNO.EAGAIN;
      if (!isEmpty) check('read', size);
      if (size > 0) this.#sink(Buffer.from(chunk.bytes.subarray(0, size)));
      if (size === 0 || this.#backlog?.isTaken(size, isEmpty)) {
        this.#end(disposeLater);
        return;
      }
      if (isEmpty) return;
    }
  }

  #end(dispose: (part: Disposable) => void): void {
    this.#atEnd = true;
    if (this.#watch) dispose(this.#watch);
    dispose(this.#reader);
    this.#ended.resolve();
  }

  #collectFrom(stream: OutputStream, sink: (data: Buffer) => void): void {
    // Text where somebody has asked for it with setEncoding.
    stream.on('data', (data: Buffer | string) => sink(typeof data === 'string' ? Buffer.from(data) : data));
    // Destroyed before, or by an error, it has ended, too: what came before stays.
    finished(stream, { writable: false }, () => this.#ended.resolve());
  }

  #setReferenced(referenced: boolean): void {
    this.#referenced = referenced;
    for (const part of [this.#stream, this.#watch]) {
      if (referenced) part?.ref();
      else part?.unref();
    }
  }
}
