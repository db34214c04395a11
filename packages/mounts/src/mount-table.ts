import { readFileSync } from 'node:fs';
import { allocate, O, type OwnedFd, open, SYS, syscall } from '@ns/libc';
import { type MountInfo, parseMountinfo } from './parse-mountinfo.ts';

const POLLPRI = 2;

/**
 * The mounts of this process's namespace, read again only when they have changed: poll(2) of `/proc/self/mountinfo`
 * says so (proc(5), since 2.6.15). Asking takes about a microsecond, reading and parsing a hundred times that.
 *
 * Holds one descriptor until closed.
 */
export class MountTable implements Disposable {
  readonly #file: OwnedFd = open('/proc/self/mountinfo', O.RDONLY);
  readonly #request = allocate(8); // struct pollfd: descriptor, events, what happened
  readonly #now = allocate(16); // struct timespec
  #mounts: readonly MountInfo[] | undefined;

  constructor() {
    this.#request.bytes.writeInt32LE(this.#file.fd, 0);
    this.#request.bytes.writeInt16LE(POLLPRI, 4);
  }

  /** The same array as the last time when nothing has changed. */
  read(): readonly MountInfo[] {
    // Not even an error (EINTR) is a no. A change between the question and the reading will be told the next time.
    const unchanged = syscall(SYS.ppoll, this.#request.address, 1, this.#now.address, 0, 8) === 0;
    if (!unchanged || !this.#mounts) this.#mounts = parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8'));
    return this.#mounts;
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}
