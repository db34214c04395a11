import type { OwnedFd } from '@ns/libc';

/** Descriptors that must stay open until the end of a block (DisposableStack came with Node 24). */
export class HeldFds implements Disposable {
  readonly #fds: OwnedFd[] = [];

  /** Closes `fd` with the rest. */
  keep(fd: OwnedFd): OwnedFd {
    this.#fds.push(fd);
    return fd;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds.splice(0)) fd.close();
  }
}
