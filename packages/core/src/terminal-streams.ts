import { finished, Readable, type Writable } from 'node:stream';
import { OutputStream, StandardStreams } from '@ns/launch';
import { allocate, check, ioctl, O, OwnedFd } from '@ns/libc';
import { TerminalInput } from './terminal-input.ts';

// <asm-generic/ioctls.h>
const TIOCSWINSZ = 0x5414;
const FIONBIO = 0x5421;
const TIOCGPTPEER = 0x5441; // since 4.13
const yes = allocate(4);
yes.bytes.writeInt32LE(1);

/** Size of a terminal in characters. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/**
 * The streams of a process with a terminal. It has one output; the terminal is made inside the container, so what is
 * written before it exists waits here.
 */
export class TerminalStreams extends StandardStreams {
  readonly #output = new OutputStream();
  readonly #nothing = Readable.from([]);
  readonly #input = new TerminalInput();
  /** The controlling side. */
  #fd: OwnedFd | undefined;
  /** The process's side. */
  #peer: OwnedFd | undefined;
  #hasEnded = false;
  #size: TerminalSize | undefined;

  /** @param size - that it has from the beginning */
  constructor(size?: TerminalSize) {
    super(['null', 'null', 'null']);
    this.#size = size;
    // Who writes to a terminal whose input was ended has his callback for that.
    this.#input.on('error', () => {});
  }

  /** What it was told last. */
  get size(): TerminalSize | undefined {
    return this.#size;
  }

  override get stdout(): Readable {
    return this.#output;
  }

  override get stderr(): Readable {
    return this.#nothing;
  }

  override collect(fd: 1 | 2, sink: (data: Buffer) => void): Promise<void> {
    const stream = fd === 1 ? this.#output : this.#nothing;
    // Text where somebody has asked for it with setEncoding.
    stream.on('data', (data: Buffer | string) => sink(typeof data === 'string' ? Buffer.from(data) : data));
    // Who iterates may have seen the end by now.
    return new Promise((resolve) => {
      finished(stream, { writable: false }, () => resolve());
    });
  }

  override get stdin(): Writable {
    return this.#input;
  }

  /** A terminal does not end because nobody types. */
  override closeUnusedStdin(): void {}

  /** Takes over the controlling side, and gives it the size that was asked for. */
  connect(fd: OwnedFd): void {
    this.#fd = fd;
    const close = () => {
      this.#input.destroy();
      fd.close();
    };
    if (this.#output.destroyed) {
      close();
      return;
    }
    this.#output.once('close', close);
    // A program may close its side while it runs, and must not be hung up on for that: it is not the last to have it open.
    if (!this.#hasEnded)
      this.#peer = new OwnedFd(check('ioctl', ioctl(fd.fd, TIOCGPTPEER, O.RDWR | O.NOCTTY | O.CLOEXEC)));
    check('ioctl', ioctl(fd.fd, FIONBIO, yes.address));
    if (this.#size) this.resize(this.#size);
    this.#output.connect(fd.duplicate());
    this.#input.connect(fd.duplicate());
  }

  /** There will be no terminal, or none that could be taken over: the program never begins. */
  abandon(): void {
    this.#output.abandon();
  }

  /** Tells the process the new size: TIOCSWINSZ, which sends SIGWINCH. */
  resize(size: TerminalSize): void {
    this.#size = size;
    if (!this.#fd || this.#fd.closed) return;
    const window = allocate(8); // struct winsize
    window.bytes.writeUInt16LE(size.rows, 0);
    window.bytes.writeUInt16LE(size.columns, 2);
    check('ioctl', ioctl(this.#fd.fd, TIOCSWINSZ, window.address));
  }

  override ref(): void {
    this.#output.ref();
  }

  override unref(): void {
    this.#output.unref();
  }

  override processEnded(): void {
    super.processEnded();
    this.#hasEnded = true;
    this.#peer?.close();
  }

  override drain(): void {
    this.#output.drain();
  }

  override destroyStdin(): void {
    this.#input.destroy();
  }

  override destroy(): void {
    super.destroy();
    this.processEnded();
    this.#output.destroy();
  }
}
