import { setTimeout as delay } from 'node:timers/promises';
import { type Launched, StandardStreams } from '@ns/launch';
import { NsError, SpecError } from '@ns/libc';
import { readAccounts } from './container-cgroup.ts';
import { launchContainer } from './container-launch.ts';
import { ContainerProcess } from './container-process.ts';
import { candidatesFor, newId } from './design.ts';
import { ContainerStartError } from './errors.ts';
import { type ContainerDesign, execStep } from './plan/container-plan.ts';
import { acquireResources, needsResources, noResources, type Resources } from './resources.ts';
import type { ContainerSpec, RunOptions } from './types.ts';
import { validatePooled, validatePoolOptions, validateSpec } from './validate-spec.ts';

/** What a pool keeps ready. */
export interface PoolOptions {
  /** How many sandboxes are ready at once. Default 4. */
  readonly size?: number;
  /** What each of them is: everything but the command. */
  readonly template?: Omit<ContainerSpec, 'command' | 'stdin' | 'name' | 'timeout' | 'maxOutput' | 'tty'>;
  /** What becomes of a used sandbox. `'discard'`, the only way to be sure nothing of it remains. */
  readonly reset?: 'discard';
  /** How many callers may wait for a sandbox before `acquire` rejects. Default 1,000. */
  readonly maxWaiting?: number;
}

/** Options of a command in a pooled sandbox: what can still be decided when everything else is made. */
export type PooledRunOptions = Pick<
  RunOptions,
  'env' | 'cwd' | 'stdin' | 'timeout' | 'signal' | 'maxOutput' | 'check' | 'encoding' | 'buffer'
>;

/**
 * Sandboxes that are made in advance and wait just before execve(2): a command starts in about a millisecond.
 *
 * Each is used once and then gone; another one is made in the background. Waiting sandboxes do not keep the event loop
 * alive.
 *
 * @example
 * ```ts
 * const pool = await Pool.create({ size: 8, template: { limits: { memory: '64MiB' } } });
 * const { stdout } = await pool.run('node', ['-e', 'console.log(6 * 7)']);
 * await pool.close();
 * ```
 */
export class Pool implements AsyncDisposable {
  readonly size: number;
  readonly #template: ContainerSpec;
  readonly #maxWaiting: number;
  readonly #ready: PooledSandbox[] = [];
  readonly #waiting: { resolve: (sandbox: PooledSandbox) => void; reject: (reason: unknown) => void }[] = [];
  readonly #making = new Set<Promise<void>>();
  readonly #claimed = new Set<PooledSandbox>();
  #closed = false;

  private constructor(options: PoolOptions) {
    const { size = 4, template = {}, maxWaiting = 1000 } = validatePoolOptions(options);
    this.size = size;
    if (template.network === 'user') {
      throw new SpecError(
        'template.network',
        'a network that needs no process of its own',
        'user',
        'Give a bridge network, or run without a pool',
      );
    }
    this.#template = validateSpec({ ...template, command: ['true'] });
    this.#maxWaiting = maxWaiting;
  }

  /**
   * Makes a pool; settles when all its sandboxes are ready.
   *
   * @throws ContainerStartError when a sandbox cannot be made
   */
  static async create(options: PoolOptions = {}): Promise<Pool> {
    const pool = new Pool(options);
    try {
      await Promise.all(
        Array.from({ length: pool.size }, async () => pool.#offer(await PooledSandbox.make(pool.#template))),
      );
    } catch (error) {
      await pool.close();
      throw error;
    }
    return pool;
  }

  /** How many sandboxes are ready, in use, and how many callers wait. */
  get state(): { readonly ready: number; readonly claimed: number; readonly waiting: number } {
    return { ready: this.#ready.length, claimed: this.#claimed.size, waiting: this.#waiting.length };
  }

  /**
   * A sandbox for one command, nobody else's. Waits while there is none.
   *
   * @throws NsError `ERR_NS_POOL_CLOSED`, `ERR_NS_POOL_BUSY`: too many wait already
   */
  async acquire(options: { signal?: AbortSignal } = {}): Promise<PooledSandbox> {
    options.signal?.throwIfAborted();
    if (this.#closed) throw new NsError('ERR_NS_POOL_CLOSED', 'the pool is closed');
    const ready = this.#take();
    this.#refill();
    if (ready) return ready;
    if (this.#waiting.length >= this.#maxWaiting) {
      throw new NsError('ERR_NS_POOL_BUSY', `${this.#waiting.length} callers wait for a sandbox already`, {
        hint: 'Make the pool larger, or try again later',
      });
    }
    return new Promise((resolve, reject) => {
      const waiter = { resolve, reject };
      this.#waiting.push(waiter);
      options.signal?.addEventListener(
        'abort',
        () => {
          const index = this.#waiting.indexOf(waiter);
          if (index >= 0) this.#waiting.splice(index, 1);
          reject(options.signal!.reason);
        },
        { once: true },
      );
    });
  }

  /** Runs one command in a sandbox of the pool. */
  async run(
    command: string | readonly string[],
    args: readonly string[] = [],
    options: PooledRunOptions = {},
  ): Promise<Awaited<ContainerProcess>> {
    const sandbox = await this.acquire(options.signal ? { signal: options.signal } : {});
    return sandbox.run(command, args, options);
  }

  /** Settles when the pool is full again. */
  async settled(): Promise<void> {
    while (this.#making.size > 0) await Promise.all(this.#making);
  }

  /** Ends all sandboxes, those in use as well. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { reject } of this.#waiting.splice(0)) reject(new NsError('ERR_NS_POOL_CLOSED', 'the pool was closed'));
    await this.settled();
    await Promise.all([...this.#ready.splice(0), ...this.#claimed].map((sandbox) => sandbox[Symbol.asyncDispose]()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #take(): PooledSandbox | undefined {
    for (;;) {
      const sandbox = this.#ready.shift();
      // One may have been killed while it waited.
      if (!sandbox || sandbox.alive) return sandbox && this.#claim(sandbox);
    }
  }

  #claim(sandbox: PooledSandbox): PooledSandbox {
    this.#claimed.add(sandbox);
    sandbox.ended.then(() => this.#claimed.delete(sandbox));
    sandbox.claim();
    return sandbox;
  }

  #offer(sandbox: PooledSandbox): void {
    const waiter = this.#waiting.shift();
    if (waiter) waiter.resolve(this.#claim(sandbox));
    else this.#ready.push(sandbox);
  }

  /** Makes as many as are missing, in the background. */
  #refill(): void {
    const missing = this.size + this.#waiting.length - this.#ready.length - this.#making.size;
    for (let i = 0; i < missing && !this.#closed; i++) {
      const making = this.#make().finally(() => this.#making.delete(making));
      this.#making.add(making);
    }
  }

  async #make(): Promise<void> {
    // The caller's command is what counts now.
    await delay(0);
    try {
      this.#offer(await PooledSandbox.make(this.#template));
    } catch (error) {
      // Nobody to tell but those who wait; the next acquire tries again.
      this.#waiting.shift()?.reject(error);
    }
  }
}

/** A sandbox for one command, ready but for the command. */
export class PooledSandbox implements AsyncDisposable {
  readonly id: string;
  /** Settles when nothing of it is left. */
  readonly ended: Promise<void>;
  readonly #launched: Launched;
  readonly #streams: StandardStreams;
  readonly #resources: Resources;
  readonly #design: ContainerDesign;
  #used = false;
  #alive = true;

  private constructor(
    id: string,
    launched: Launched,
    streams: StandardStreams,
    resources: Resources,
    design: ContainerDesign,
  ) {
    this.id = id;
    this.#launched = launched;
    this.#streams = streams;
    this.#resources = resources;
    this.#design = design;
    this.ended = launched.exited.then(async () => {
      this.#alive = false;
      if (!this.#used) await resources[Symbol.asyncDispose]();
    });
  }

  /** @internal */
  static async make(template: ContainerSpec): Promise<PooledSandbox> {
    const id = newId();
    const resources = needsResources(template) ? await acquireResources(id, template) : noResources;
    const streams = new StandardStreams(['pipe', 'pipe', 'pipe']);
    const { launched, design } = launchContainer(template, {
      ...resources,
      id,
      streams,
      park: false,
      programLater: true,
      keepScratch: false,
    });
    const sandbox = new PooledSandbox(id, launched, streams, resources, design);
    try {
      await launched.ready;
    } catch {
      const { failure } = await launched.exited;
      await sandbox.ended;
      throw failure
        ? new ContainerStartError(failure)
        : new NsError('ERR_NS_CONTAINER_START', 'the sandbox was ended during its start');
    }
    launched.unref();
    return sandbox;
  }

  /** @internal */
  claim(): void {
    this.#launched.ref();
  }

  get alive(): boolean {
    return this.#alive;
  }

  /**
   * Runs the command this sandbox was made for. Once.
   *
   * @throws NsError (as a rejection) `ERR_NS_SANDBOX_USED`
   */
  run(
    command: string | readonly string[],
    args: readonly string[] = [],
    options: PooledRunOptions = {},
  ): ContainerProcess {
    const argv = [...(typeof command === 'string' ? [command] : command), ...args];
    const again = this.#used;
    this.#used = true;
    const start = () => {
      if (again)
        throw new NsError('ERR_NS_SANDBOX_USED', 'this sandbox has run its command', {
          hint: 'Acquire another one from the pool',
        });
      const { env = {}, cwd } = validatePooled(argv, options);
      const merged = { ...Object.fromEntries(this.#design.env.map((entry) => splitOnce(entry))), ...env };
      this.#launched.continueWith([
        ...(cwd === undefined ? [] : [{ op: 'workingDirectory', path: cwd, create: false } as const]),
        execStep({
          argv,
          candidates: candidatesFor(argv[0]!, merged.PATH ?? ''),
          env: Object.entries(merged).map(([name, value]) => `${name}=${value}`),
        }),
      ]);
      return {
        launched: this.#launched,
        finish: async (exit: Awaited<Launched['exited']>) => {
          const ending = await readAccounts(exit, this.#resources.cgroup);
          await this.#resources[Symbol.asyncDispose]();
          return ending;
        },
      };
    };
    const processOptions = { ...options, command: argv, timeoutMs: options.timeout };
    return again
      ? new ContainerProcess(processOptions, start)
      : new ContainerProcess(processOptions, start, this.#streams);
  }

  /** Ends it. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    // Somebody waits for it now.
    this.#launched.ref();
    this.#launched.kill();
    await this.ended;
    if (!this.#used) this.#streams.destroy();
  }
}

function splitOnce(entry: string): [string, string] {
  const at = entry.indexOf('=');
  return [entry.slice(0, at), entry.slice(at + 1)];
}
