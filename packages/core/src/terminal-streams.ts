import { PassThrough, Readable } from 'node:stream';
import { ReadStream } from 'node:tty';
import { StandardStreams } from '@ns/launch';
import { allocate, check, ioctl, type OwnedFd } from '@ns/libc';

const TIOCSWINSZ = 0x5414; // <asm-generic/ioctls.h>
const END_OF_TRANSMISSION = '\x04';

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
  readonly #output = new PassThrough();
  readonly #nothing = Readable.from([]);
  readonly #input = new PassThrough();
  #terminal: { readonly stream: ReadStream; readonly fd: OwnedFd } | undefined;
  #size: TerminalSize | undefined;

  constructor() {
    super(['null', 'null', 'null']);
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
    return new Promise((resolve) => {
      stream.on('error', () => resolve());
      stream.on('close', () => resolve());
    });
  }

  override get stdin(): PassThrough {
    return this.#input;
  }

  /** A terminal does not end because nobody types. */
  override closeUnusedStdin(): void {}

  /** Takes over the controlling side. */
  connect(fd: OwnedFd): void {
    const stream = new ReadStream(fd.duplicate().release());
    this.#terminal = { stream, fd };
    const end = () => {
      this.#output.end();
      fd.close();
    };
    // EIO is how Linux says that no process has the other side open any more.
    stream.on('error', end).on('close', end).on('end', end);
    stream.pipe(this.#output, { end: false });
    this.#input.on('data', (data) => void (stream.write(data) || this.#input.pause()));
    stream.on('drain', () => this.#input.resume());
    this.#input.on('end', () => stream.write(END_OF_TRANSMISSION));
    if (this.#size) this.resize(this.#size);
  }

  /** There will be no terminal: the process was never started. */
  abandon(): void {
    if (!this.#terminal) this.#output.end();
  }

  /** Tells the process the new size: TIOCSWINSZ, which sends SIGWINCH. */
  resize(size: TerminalSize): void {
    this.#size = size;
    if (!this.#terminal || this.#terminal.fd.closed) return;
    const window = allocate(8); // struct winsize
    window.bytes.writeUInt16LE(size.rows, 0);
    window.bytes.writeUInt16LE(size.columns, 2);
    check('ioctl', ioctl(this.#terminal.fd.fd, TIOCSWINSZ, window.address));
  }

  override ref(): void {
    this.#terminal?.stream.ref();
  }

  override unref(): void {
    this.#terminal?.stream.unref();
  }

  override destroyStdin(): void {
    this.#input.destroy();
  }

  override destroy(): void {
    super.destroy();
    this.#terminal?.stream.destroy();
    this.#output.destroy();
  }
}
