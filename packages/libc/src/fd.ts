import { check } from './errors.ts';
import { syscall } from './libc.ts';
import { SYS } from './syscalls.ts';

const registry = new FinalizationRegistry<number>((fd) => {
  // A lost OwnedFd is a bug of the holder, but not one that may leak a kernel resource.
  syscall(SYS.close, fd);
});

/** A file descriptor with one owner, who closes it. Always close-on-exec. */
export class OwnedFd implements Disposable {
  #fd: number;

  /** Takes ownership of `fd`. */
  constructor(fd: number) {
    this.#fd = fd;
    registry.register(this, fd, this);
  }

  /** The number, for a call. Throws when closed. */
  get fd(): number {
    if (this.#fd < 0) throw new Error('file descriptor is closed');
    return this.#fd;
  }

  get closed(): boolean {
    return this.#fd < 0;
  }

  /** Gives up ownership: the caller closes the number from now on. */
  release(): number {
    const fd = this.fd;
    registry.unregister(this);
    this.#fd = -1;
    return fd;
  }

  /** Another descriptor for the same open file. */
  duplicate(): OwnedFd {
    return new OwnedFd(check('fcntl', syscall(SYS.fcntl, this.fd, F_DUPFD_CLOEXEC, 3)));
  }

  /** A path to the same object, for calls that take only paths. */
  get procPath(): string {
    return `/proc/self/fd/${this.fd}`;
  }

  /** Idempotent. */
  close(): void {
    if (this.#fd < 0) return;
    // Linux frees the number even when close reports an error, so there is nothing to retry.
    syscall(SYS.close, this.release());
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

const F_DUPFD_CLOEXEC = 1030;
