import { Readable } from 'node:stream';
import { allocate, ERRNO, type FdWatch, type OwnedFd, SYS, syscall, watchFd } from '@ns/libc';

/** What one turn of the event loop takes at most. Calls are synchronous, and what they leave here is copied at once. */
const chunk = allocate(65536);

/**
 * What is written to a terminal, from its controlling side. Node's own stream for terminals takes the end of the processes for
 * the end of their output, and loses what the kernel still has of it: some kilobytes.
 */
export class TerminalOutput extends Readable {
  #fd: OwnedFd | undefined;
  #watch: FdWatch | undefined;
  #wanted = false;
  #referenced = true;

  /** @param fd - ours from now on */
  connect(fd: OwnedFd): void {
    this.#fd = fd;
    if (this.destroyed) fd.close();
    else if (this.#wanted) this._read();
  }

  /** Nothing will come, unless something does already. */
  abandon(): void {
    if (!this.#watch) this.push(null);
  }

  override _read(): void {
    this.#wanted = true;
    if (!this.#fd || this.#watch) return;
    this.#watch = watchFd(this.#fd.fd, { readable: true }, () => this.#readOn());
    if (!this.#referenced) this.#watch.unref();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#watch?.close();
    this.#fd?.close();
    done(error);
  }

  ref(): void {
    this.#referenced = true;
    this.#watch?.ref();
  }

  unref(): void {
    this.#referenced = false;
    this.#watch?.unref();
  }

  #readOn(): void {
    const { data, ended } = readTerminal(this.#fd!);
    const isFull = data.length > 0 && !this.push(data);
    if (ended) this.push(null);
    if (!isFull && !ended) return;
    this.#wanted = false;
    // Of the end the kernel would tell again and again.
    this.#watch?.close();
    this.#watch = undefined;
  }
}

/** What there is now. */
function readTerminal({ fd }: OwnedFd): { data: Buffer; ended: boolean } {
  const { bytes, address } = chunk;
  let size = 0;
  let count = 1;
  // It gives a few kilobytes at a time.
  while (count > 0 && size < bytes.length) {
    count = syscall(SYS.read, fd, address + size, bytes.length - size);
    if (count > 0) size += count;
  }
  // EIO is how Linux says that no process has the other side open any more.
  const ended = count <= 0 && count !== -ERRNO.EAGAIN && count !== -ERRNO.EINTR;
  return { data: Buffer.from(bytes.subarray(0, size)), ended };
}
