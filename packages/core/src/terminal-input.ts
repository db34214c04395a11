import { writeSync } from 'node:fs';
import { Writable } from 'node:stream';
import { hasCode, type OwnedFd } from '@ns/libc';

/** In the middle of a line the first only hands over what there is of it. */
const END_OF_TRANSMISSION = '\x04';
const NEWLINE = 0x0a;
const TRY_AGAIN_MS = 10;

/** What is typed at a terminal: its controlling side, written to. What comes before there is one waits. */
export class TerminalInput extends Writable {
  #fd: OwnedFd | undefined;
  #endsLine = true;
  #pending: { rest: Buffer; readonly done: () => void } | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param fd - ours from now on; non-blocking */
  connect(fd: OwnedFd): void {
    this.#fd = fd;
    if (this.destroyed) fd.close();
    else this.#writeOn();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#endsLine = chunk.at(-1) === NEWLINE;
    this.#pending = { rest: chunk, done };
    this.#writeOn();
  }

  override _final(done: () => void): void {
    this.#pending = { rest: Buffer.from(END_OF_TRANSMISSION.repeat(this.#endsLine ? 1 : 2)), done };
    this.#writeOn();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#timer);
    this.#fd?.close();
    this.#pending?.done();
    done(error);
  }

  #writeOn(): void {
    const pending = this.#pending;
    if (!this.#fd || !pending) return;
    try {
      while (pending.rest.length > 0) pending.rest = pending.rest.subarray(writeSync(this.#fd.fd, pending.rest));
    } catch (error) {
      if (hasCode(error, 'EAGAIN')) {
        // The kernel would say that there is room where it then finds none: asking again is all one can do.
        this.#timer = setTimeout(() => this.#writeOn(), TRY_AGAIN_MS).unref();
        return;
      }
      // Who writes to a process that ends meanwhile has done nothing wrong.
    }
    this.#pending = undefined;
    pending.done();
  }
}
