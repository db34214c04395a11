import { addressOf, check, SYS, syscall } from '@ns/libc';

const HOLE = 64 * 1024;
const zeros = Buffer.alloc(HOLE);

/** Writes a file from its beginning, leaving out runs of zeros: sparse files stay sparse whatever way they came. */
export class SparseWriter {
  readonly #fd: number;
  #position = 0;
  #endsInHole = false;

  /** @param fd - of an empty file, open for writing; stays the caller's */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Appends bytes. */
  write(bytes: Buffer): void {
    // Once for all: an address costs as much as half a system call.
    const address = addressOf(bytes);
    for (let at = 0; at < bytes.length; ) {
      const length = Math.min(HOLE, bytes.length - at);
      if (length === HOLE && bytes[at] === 0 && bytes.compare(zeros, 0, HOLE, at, at + HOLE) === 0) {
        this.#endsInHole = true;
        this.#position += HOLE;
        at += HOLE;
        continue;
      }
      const count = check('pwrite64', syscall(SYS.pwrite64, this.#fd, address + at, length, this.#position), {
        doing: 'write a file',
      });
      this.#endsInHole = false;
      this.#position += count;
      at += count;
    }
  }

  /** Gives the file its full length. */
  end(): void {
    if (this.#endsInHole)
      check('ftruncate', syscall(SYS.ftruncate, this.#fd, this.#position), { doing: 'write a file' });
  }
}
