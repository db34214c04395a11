import { writeSync } from 'node:fs';
import { Writable } from 'node:stream';
import { allocate, hasCode, ioctl, type OwnedFd } from '@ns/libc';

const TCGETS = 0x5401; // <asm-generic/ioctls.h>
const ICANON = 2; // <asm-generic/termbits.h>
const C_LFLAG = 12; // struct termios: the fourth of its flags
const MODE_CHECK_MS = 50;
const termios = allocate(60);

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

  constructor() {
    // It is not at its end when it has been ended: see #endAgain.
    super({ autoDestroy: false });
  }

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
    const ended = () => {
      done();
      this.#endAgain(this.#isByLine());
    };
    this.#pending = { rest: Buffer.from(END_OF_TRANSMISSION.repeat(this.#endsLine ? 1 : 2)), done: ended };
    this.#writeOn();
  }

  /** What has ended the input before a program reads by the character, as who edits lines himself, is no end to him; and the reverse. */
  #endAgain(wasByLine: boolean | undefined): void {
    if (wasByLine === undefined) return;
    this.#timer = setTimeout(() => {
      const isByLine = this.#isByLine();
      if (isByLine === wasByLine || isByLine === undefined) this.#endAgain(isByLine);
      else {
        this.#pending = { rest: Buffer.from(END_OF_TRANSMISSION), done: () => this.#endAgain(isByLine) };
        this.#writeOn();
      }
    }, MODE_CHECK_MS).unref();
  }

  /** undefined: it is gone. */
  #isByLine(): boolean | undefined {
    if (!this.#fd || this.#fd.closed || ioctl(this.#fd.fd, TCGETS, termios.address) < 0) return undefined;
    return (termios.bytes.readUInt32LE(C_LFLAG) & ICANON) !== 0;
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
