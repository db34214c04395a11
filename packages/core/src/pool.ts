import { NsError } from '@ns/libc';
import { type Patience, patiently, patientlyMade } from './patience.ts';
import { type PooledRunOptions, PooledSandbox } from './pooled-sandbox.ts';
import { readCall } from './read-call.ts';
import type { Result } from './result.ts';
import type { AsBytes, ContainerSpec, Writable } from './types.ts';
import { checkCall } from './validate-calls.ts';
import { validatePoolOptions } from './validate-pool.ts';
import { validateSpec } from './validate-spec.ts';

/** What a pool keeps ready. */
export interface PoolOptions {
  /** How many sandboxes are ready at once. Default 4. */
  readonly size?: number;
  /**
   * What each of them is: everything but the command. Limits hold for each sandbox alone. A network may be any but
   * `'user'`, and no directory keeps what they write.
   */
  readonly template?: Omit<
    ContainerSpec,
    | 'command'
    | 'stdin'
    | 'name'
    | 'timeout'
    | 'maxOutput'
    | 'tty'
    | 'restart'
    | 'health'
    | 'wait'
    | 'cgroupAccess'
    | 'log'
    | 'lifetime'
    | 'stopSignal'
    | 'writable'
  > & { readonly writable?: Exclude<Writable, { readonly dir: string } | { readonly upper: string }> };
  /**
   * What becomes of a used sandbox. `'discard'` is all there is, and the default: processes, memory of the kernel, files,
   * sockets, clocks and accounts of a sandbox go away with it, and nothing else is sure to be free of what the last command
   * left. Making another one takes some milliseconds, and nobody waits for them.
   */
  readonly reset?: 'discard';
  /** How many callers may wait for a sandbox before `acquire` rejects. Default 1,000. */
  readonly maxWaiting?: number;
}

/** How long to wait. */
export interface WaitingOptions {
  readonly signal?: AbortSignal;
  /** Milliseconds. Default: without an end. */
  readonly timeout?: number;
}

/** What a {@link Pool} has. */
export interface PoolState {
  /** Sandboxes that wait for a command. */
  readonly ready: number;
  /** Those that were handed out and are not gone. */
  readonly claimed: number;
  /** Callers that wait for one. */
  readonly waiting: number;
  /** Sandboxes that are being made. */
  readonly making: number;
}

interface Waiter {
  resolve(sandbox: PooledSandbox): void;
  reject(reason: unknown): void;
}

/** Two CPUs are a small machine: for so long the command that has just been started has them to itself. */
const REST_MS = 10;
/** At most this long between attempts to make sandboxes that cannot be made, or that somebody kills. */
const LONGEST_REST_MS = 5000;
/** How often it is tried again when a sandbox turns out to have been killed before it had a command. */
const ATTEMPTS = 10;

/**
 * Sandboxes that are made in advance and wait just before execve(2): a command starts in about a millisecond.
 *
 * Each is used once and then gone; others are made in the background, when the command that took one has ended or has run
 * for some milliseconds, and at once when somebody waits. One that was killed while it waited is replaced too. Waiting
 * sandboxes do not keep the event loop alive. They die with this process.
 *
 * @example
 * ```ts
 * const pool = await Pool.create({ size: 8, template: { limits: { memory: '64MiB' } } });
 * const { stdout } = await pool.run('node', ['-e', 'console.log(6 * 7)']);
 * await pool.close();
 * ```
 */
export class Pool implements AsyncDisposable {
  /** How many sandboxes it keeps ready. */
  readonly size: number;
  readonly #template: ContainerSpec;
  readonly #maxWaiting: number;
  readonly #ready: PooledSandbox[] = [];
  readonly #waiting: Waiter[] = [];
  readonly #making = new Set<Promise<void>>();
  readonly #claimed = new Set<PooledSandbox>();
  #refilling: NodeJS.Timeout | undefined;
  /** Sandboxes that could not be made or were killed, since one was handed out. */
  #losses = 0;
  #closed = false;

  private constructor(options: PoolOptions) {
    const { size = 4, template = {}, maxWaiting = 1000 } = validatePoolOptions(options);
    this.size = size;
    this.#template = validateSpec({ ...template, command: ['true'] });
    this.#maxWaiting = maxWaiting;
  }

  /**
   * Makes a pool; settles when all its sandboxes are ready. For who lost patience none of them is left.
   *
   * @throws SpecError `ERR_NS_INVALID_SPEC`
   * @throws ContainerStartError when a sandbox cannot be made
   */
  static async create(options: PoolOptions = {}, patience: Patience = {}): Promise<Pool> {
    const pool = new Pool(options);
    return patientlyMade(
      'making a pool',
      checkCall('patience', patience),
      () => pool.#fill(),
      () => pool.close(),
    );
  }

  async #fill(): Promise<Pool> {
    const made = await Promise.allSettled(
      Array.from({ length: this.size }, async () => this.#offer(await PooledSandbox.make(this.#template))),
    );
    const failed = made.find((one) => one.status === 'rejected');
    if (!failed) return this;
    await this.close();
    throw failed.reason;
  }

  /** What it has at this moment. */
  get state(): PoolState {
    return {
      ready: this.#ready.length,
      claimed: this.#claimed.size,
      waiting: this.#waiting.length,
      making: this.#making.size,
    };
  }

  /**
   * A sandbox for one command, nobody else's. Waits while there is none. It is the caller's to run or to dispose of.
   *
   * @throws NsError `ERR_NS_POOL_CLOSED`; `ERR_NS_POOL_BUSY`: too many wait already; `ERR_NS_POOL_TIMEOUT`
   * @throws ContainerStartError when the sandbox that was waited for cannot be made
   */
  async acquire(options: WaitingOptions = {}): Promise<PooledSandbox> {
    const { signal, timeout } = checkCall('patience', options);
    signal?.throwIfAborted();
    if (this.#closed) throw closed();
    const ready = this.#take();
    if (ready) return ready;
    if (this.#waiting.length >= this.#maxWaiting) {
      throw new NsError('ERR_NS_POOL_BUSY', `${this.#waiting.length} callers wait for a sandbox already`, {
        hint: 'Make the pool larger, or try again later',
      });
    }
    return this.#wait(signal, timeout);
  }

  /**
   * Runs one command in a sandbox of the pool. `signal` counts for the time of waiting too, `timeout` for the command.
   *
   * @throws NsError as {@link acquire}
   */
  run(
    command: string | readonly string[],
    args: readonly string[],
    options: PooledRunOptions & AsBytes,
  ): Promise<Result<Buffer>>;
  run(command: string | readonly string[], args?: readonly string[], options?: PooledRunOptions): Promise<Result>;
  run(command: string | readonly string[], options: PooledRunOptions & AsBytes): Promise<Result<Buffer>>;
  run(command: string | readonly string[], options: PooledRunOptions): Promise<Result>;
  async run(
    command: string | readonly string[],
    args: readonly string[] | PooledRunOptions = [],
    options: PooledRunOptions = {},
  ): Promise<Result<string | Buffer>> {
    const call = readCall(command, args, options);
    const { signal } = call.options;
    for (let attempt = 1; ; attempt++) {
      // One that was killed a moment ago says so.
      const sandbox = this.#closed || signal ? undefined : this.#ready.shift();
      try {
        if (!sandbox) return await (await this.acquire(signal ? { signal } : {})).run(call.argv, call.options);
        const process = sandbox.run(call.argv, call.options);
        this.#handOut(sandbox);
        return await process;
      } catch (error) {
        // The command was not run, so it may be.
        if (!isGone(error) || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** Settles when the pool is full again, and makes it so without waiting for a quiet moment. */
  async settled(patience: Patience = {}): Promise<void> {
    return patiently('filling the pool', checkCall('patience', patience), async () => {
      this.#refill();
      await this.#allMade();
    });
  }

  async #allMade(): Promise<void> {
    while (this.#making.size > 0) await Promise.all(this.#making);
  }

  /**
   * Closes it in good order: nobody new gets a sandbox, those who wait still do, and commands run to their end.
   *
   * @param options - when to lose patience: what is left is ended then
   */
  async drain(options: WaitingOptions = {}): Promise<void> {
    const { signal, timeout } = checkCall('patience', options);
    this.#closed = true;
    const patience = new AbortController();
    const lose = () => patience.abort();
    const timer = timeout === undefined ? undefined : setTimeout(lose, timeout);
    signal?.addEventListener('abort', lose, { once: true });
    if (signal?.aborted) lose();
    const impatient = new Promise<void>((resolve) => {
      patience.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    while (!patience.signal.aborted && this.#waiting.length + this.#claimed.size > 0) {
      this.#refill();
      for (const sandbox of this.#claimed) sandbox.lookOn();
      await Promise.race([impatient, ...this.#making, ...[...this.#claimed].map(({ ended }) => ended.catch(() => {}))]);
    }
    clearTimeout(timer);
    signal?.removeEventListener('abort', lose);
    await this.close();
  }

  /** Ends all sandboxes, those in use as well. Idempotent. Once begun it is carried through, also for who lost patience. */
  async close(patience: Patience = {}): Promise<void> {
    return patiently('closing the pool', checkCall('patience', patience), () => this.#close());
  }

  async #close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#refilling);
    for (const { reject } of this.#waiting.splice(0)) reject(closed());
    await this.#allMade();
    await Promise.all([...this.#ready.splice(0), ...this.#claimed].map((sandbox) => sandbox[Symbol.asyncDispose]()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #take(): PooledSandbox | undefined {
    // One may have been killed a moment ago: of that we are about to hear.
    const index = this.#ready.findIndex(({ alive }) => alive);
    if (index < 0) return undefined;
    const [sandbox] = this.#ready.splice(index, 1) as [PooledSandbox];
    this.#handOut(sandbox);
    return sandbox;
  }

  #handOut(sandbox: PooledSandbox): void {
    this.#losses = 0;
    this.#claim(sandbox);
    this.#refillLater();
  }

  #claim(sandbox: PooledSandbox): PooledSandbox {
    this.#claimed.add(sandbox);
    return sandbox;
  }

  #wait(signal: AbortSignal | undefined, timeout: number | undefined): Promise<PooledSandbox> {
    return new Promise((resolve, reject) => {
      const settle = <T>(how: (value: T) => void) => {
        return (value: T) => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', onAbort);
          how(value);
        };
      };
      const waiter: Waiter = { resolve: settle(resolve), reject: settle(reject) };
      const giveUp = (reason: unknown) => {
        const index = this.#waiting.indexOf(waiter);
        if (index >= 0) this.#waiting.splice(index, 1);
        waiter.reject(reason);
      };
      const onAbort = () => giveUp(signal!.reason);
      const timer =
        timeout === undefined
          ? undefined
          : setTimeout(
              () =>
                giveUp(
                  new NsError('ERR_NS_POOL_TIMEOUT', `no sandbox was free for ${timeout} ms`, {
                    hint: 'Give the pool a larger size, or the call a larger timeout',
                  }),
                ),
              timeout,
            );
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(waiter);
      this.#refill();
    });
  }

  /** Takes a new sandbox in: for who has waited longest, or for later. */
  #offer(sandbox: PooledSandbox): void {
    // What of it could not be given back is told by whoever ends it.
    const forget = () => this.#forget(sandbox);
    sandbox.ended.then(forget, forget);
    const waiter = this.#waiting.shift();
    if (waiter) waiter.resolve(this.#claim(sandbox));
    else this.#ready.push(sandbox);
  }

  #forget(sandbox: PooledSandbox): void {
    const index = this.#ready.indexOf(sandbox);
    if (index >= 0) {
      // Somebody has killed it.
      this.#ready.splice(index, 1);
      this.#losses++;
      sandbox[Symbol.asyncDispose]().catch((error) => {
        process.emitWarning(`not all of a sandbox could be given back: ${error}`, { code: 'NS_POOL' });
      });
      this.#refillLater();
    } else if (this.#claimed.delete(sandbox) && this.#refilling) {
      // Those who wait for its result first.
      setImmediate(() => this.#refilling && this.#refill());
    }
  }

  /** Makes what is missing when there is time for it. */
  #refillLater(): void {
    if (this.#refilling || this.#closed) return;
    const rest = Math.min(REST_MS * 2 ** Math.min(this.#losses, 20), LONGEST_REST_MS);
    this.#refilling = setTimeout(() => this.#refill(), rest).unref();
  }

  /** Makes what is missing, now. */
  #refill(): void {
    clearTimeout(this.#refilling);
    this.#refilling = undefined;
    const ready = this.#ready.filter(({ alive }) => alive).length;
    const wanted = (this.#closed ? 0 : this.size - ready) + this.#waiting.length;
    for (let missing = wanted - this.#making.size; missing > 0; missing--) {
      const making = this.#make().finally(() => this.#making.delete(making));
      this.#making.add(making);
    }
  }

  async #make(): Promise<void> {
    try {
      const sandbox = await PooledSandbox.make(this.#template);
      const superfluous = this.#waiting.length === 0 && (this.#closed || this.#ready.length >= this.size);
      if (superfluous) await sandbox[Symbol.asyncDispose]();
      else this.#offer(sandbox);
    } catch (error) {
      this.#losses++;
      // Nobody to tell but those who wait: the one for whom it was made. For all others it is tried again; and for him
      // too, if it is only that somebody has killed it.
      if (!isGone(error) || this.#losses > ATTEMPTS) this.#waiting.shift()?.reject(error);
      if (this.#waiting.length > 0) setImmediate(() => this.#refill());
      else this.#refillLater();
    }
  }
}

function isGone(error: unknown): boolean {
  return error instanceof NsError && error.code === 'ERR_NS_SANDBOX_GONE';
}

function closed(): NsError {
  return new NsError('ERR_NS_POOL_CLOSED', 'the pool is closed', { hint: 'Create another one' });
}
