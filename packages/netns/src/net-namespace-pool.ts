import { SpecError } from '@ns/libc';
import { NetNamespace } from './net-namespace.ts';

/**
 * Network namespaces made ahead of time, `lo` up, nothing else in them, new links silent
 * ({@link NetNamespaceOptions.newLinks}): making one takes the kernel as long as everything that comes after, and it can do so
 * while nobody waits. One that was taken is never given back: what a container left in it is not for the next.
 *
 * Each takes memory of the kernel and is seen by lsns(8). Needs CAP_SYS_ADMIN. Does not keep the event loop alive.
 *
 * @example
 * using pool = NetNamespacePool.create({ size: 4 });
 * using netns = await pool.take();
 */
export class NetNamespacePool implements Disposable {
  readonly #size: number;
  readonly #quietMs: number;
  readonly #ready: NetNamespace[] = [];
  #refilling: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(size: number, quietMs: number) {
    this.#size = size;
    this.#quietMs = quietMs;
  }

  /**
   * Begins to make namespaces, one in each turn of the event loop.
   *
   * @param options - `size`: how many to keep ready, 1 to 1,000, default 4; `quietMs`: milliseconds after the last one was
   *   taken in which none is made, so that whoever took it has the processor, 0 to 60,000, default 0
   * @throws SpecError
   */
  static create(options: { readonly size?: number; readonly quietMs?: number } = {}): NetNamespacePool {
    const { size = 4, quietMs = 0 } = options;
    if (!Number.isInteger(size) || size < 1 || size > 1000)
      throw new SpecError('size', 'a number from 1 to 1000', size);
    if (!Number.isInteger(quietMs) || quietMs < 0 || quietMs > 60_000)
      throw new SpecError('quietMs', 'milliseconds from 0 to 60000', quietMs);
    const pool = new NetNamespacePool(size, quietMs);
    pool.#refillSoon(quietMs);
    return pool;
  }

  /** How many are ready. */
  get ready(): number {
    return this.#ready.length;
  }

  /**
   * A namespace that is the caller's from now on; made on the spot when none is ready.
   *
   * @throws SyscallError EPERM, ENOSPC at the limit user.max_net_namespaces
   */
  async take(): Promise<NetNamespace> {
    const netns = this.#ready.shift();
    this.#refillSoon(this.#quietMs);
    return netns ?? makeReady();
  }

  /** Gives up those nobody took. Idempotent. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#refilling);
    for (const netns of this.#ready.splice(0)) netns.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #refillSoon(afterMs: number): void {
    clearTimeout(this.#refilling);
    if (this.#closed || this.#ready.length >= this.#size) return;
    this.#refilling = setTimeout(async () => {
      try {
        const netns = await makeReady();
        if (this.#closed) netns.close();
        else this.#ready.push(netns);
      } catch {
        // Whoever takes the next makes it, and is told.
        return;
      }
      this.#refillSoon(0);
    }, afterMs).unref();
  }
}

function makeReady(): Promise<NetNamespace> {
  return NetNamespace.create({ newLinks: 'silent' });
}
