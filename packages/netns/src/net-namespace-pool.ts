import { SpecError } from '@ns/libc';
import { NetNamespace } from './net-namespace.ts';

/**
 * Network namespaces made ahead of time, `lo` up, nothing else in them: making one takes the kernel as long as everything
 * that comes after (about a millisecond), and it can do so while nobody waits. One that was taken is never given back:
 * what a container left in it is not for the next.
 *
 * Each costs about 180 kB of kernel memory and is seen by lsns(8). Needs CAP_SYS_ADMIN. Does not keep the event loop alive.
 *
 * @example
 * using pool = NetNamespacePool.create({ size: 4 });
 * using netns = await pool.take();
 */
export class NetNamespacePool implements Disposable {
  readonly #size: number;
  readonly #ready: NetNamespace[] = [];
  #refilling: NodeJS.Immediate | undefined;
  #closed = false;

  private constructor(size: number) {
    this.#size = size;
  }

  /**
   * Begins to make namespaces, one in each turn of the event loop.
   *
   * @param options - `size`: how many to keep ready, 1 to 1,000; default 4
   * @throws SpecError
   */
  static create({ size = 4 }: { readonly size?: number } = {}): NetNamespacePool {
    if (!Number.isInteger(size) || size < 1 || size > 1000)
      throw new SpecError('size', 'a number from 1 to 1000', size);
    const pool = new NetNamespacePool(size);
    pool.#refillSoon();
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
    this.#refillSoon();
    return netns ?? NetNamespace.create();
  }

  /** Gives up those nobody took. Idempotent. */
  close(): void {
    this.#closed = true;
    if (this.#refilling) clearImmediate(this.#refilling);
    for (const netns of this.#ready.splice(0)) netns.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #refillSoon(): void {
    if (this.#closed || this.#refilling || this.#ready.length >= this.#size) return;
    this.#refilling = setImmediate(async () => {
      try {
        const netns = await NetNamespace.create();
        if (this.#closed) netns.close();
        else this.#ready.push(netns);
      } catch {
        // Whoever takes the next makes it, and is told.
        this.#refilling = undefined;
        return;
      }
      this.#refilling = undefined;
      this.#refillSoon();
    }).unref();
  }
}
