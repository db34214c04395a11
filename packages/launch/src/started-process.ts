import { allocate, type OwnedFd, SYS, syscall } from '@ns/libc';
import { childTable } from './child-table.ts';
import { ReapedChild } from './reaped-child.ts';
import { decodeUsage } from './records.ts';

/** A process that was started, or asked for: then it has no pid yet, and none ever when its status socket ends before. */
export class StartedProcess {
  /** Our end of its status socket. */
  readonly status: OwnedFd;
  #child: ReapedChild | undefined;
  /** Of {@link childTable}, when it was asked for. */
  readonly #slot: number;

  private constructor(status: OwnedFd, child: ReapedChild | undefined, slot: number) {
    this.status = status;
    this.#child = child;
    this.#slot = slot;
  }

  static spawned(status: OwnedFd, pid: number): StartedProcess {
    return new StartedProcess(status, new ReapedChild(pid), 0);
  }

  static requested(status: OwnedFd, slot: number): StartedProcess {
    return new StartedProcess(status, undefined, slot);
  }

  /** It could be neither asked for nor started: its pid is 0, and it has ended. */
  static impossible(status: OwnedFd): StartedProcess {
    const end = { status: 125 << 8, usage: decodeUsage(Buffer.alloc(144)) };
    return new StartedProcess(status, new ReapedChild(0, end), 0);
  }

  /** Undefined until it exists. What the zygote made is in our table before it does anything. */
  find(): ReapedChild | undefined {
    if (this.#child) return this.#child;
    const pid = childTable().take(this.#slot);
    if (pid !== undefined) this.#child = new ReapedChild(pid);
    return this.#child;
  }

  /** Waits for longer than a zygote takes to make a process, but not past the end of the status socket, which it returns. */
  waitForEnd(): boolean {
    hangUp.bytes.writeInt32LE(this.status.fd, 0);
    return syscall(SYS.ppoll, hangUp.address, 1, soon.address, 0, 0) > 0;
  }
}

/** struct pollfd: no events but the end, of which the kernel always tells. */
const hangUp = allocate(8);
/** struct timespec. */
const soon = allocate(16);
soon.bytes.writeBigInt64LE(50_000n, 8);
