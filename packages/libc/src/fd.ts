import { F } from './constants.ts';
import { check } from './errors.ts';
import { syscall } from './libc.ts';
import { SYS } from './syscalls.ts';
import { bindToThread, closeBound, unbind } from './thread-fd.ts';

// A lost OwnedFd is a bug of the holder, but not one that may leak a kernel resource.
const registry = new FinalizationRegistry<number>(closeBound);

/**
 * A file descriptor with one owner, who closes it. Always close-on-exec. One of a worker thread is also closed when the
 * thread ends, however that happens.
 */
export class OwnedFd implements Disposable {
  #fd: number;

  /** Takes ownership of `fd`. In a worker thread its number is another from now on. */
  constructor(fd: number) {
    this.#fd = bindToThread(fd);
    registry.register(this, this.#fd, this);
  }

  /** The number, for a call. Throws when closed. */
  get fd(): number {
    if (this.#fd < 0) throw new Error('file descriptor is closed');
    return this.#fd;
  }

  get closed(): boolean {
    return this.#fd < 0;
  }

  /** Gives up ownership: the caller closes the number that is returned. */
  release(): number {
    return unbind(this.#takeNumber());
  }

  /** Another descriptor for the same open file. */
  duplicate(): OwnedFd {
    return new OwnedFd(check('fcntl', syscall(SYS.fcntl, this.fd, F.DUPFD_CLOEXEC, 3)));
  }

  /** A path to the same object, for calls that take only paths. */
  get procPath(): string {
    return `/proc/self/fd/${this.fd}`;
  }

  /** Idempotent. */
  close(): void {
    if (this.#fd < 0) return;
    closeBound(this.#takeNumber());
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #takeNumber(): number {
    const fd = this.fd;
    registry.unregister(this);
    this.#fd = -1;
    return fd;
  }
}
