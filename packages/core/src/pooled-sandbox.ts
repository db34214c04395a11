import { candidatesFor, type Launched, PreparedProgram, StandardStreams, type Step } from '@ns/launch';
import { NsError, ownTurn, rollBack, SyscallError } from '@ns/libc';
import { readAccounts } from './container-cgroup.ts';
import { launchContainer } from './container-launch.ts';
import { ContainerProcess, type Running, refusedProcess } from './container-process.ts';
import { newId } from './design.ts';
import { ContainerStartError } from './errors.ts';
import type { ContainerDesign } from './plan/container-plan.ts';
import { execStep } from './plan/payload-plan.ts';
import { type Call, readCall } from './read-call.ts';
import { type RecentCommands, recentCommandsOf } from './recent-commands.ts';
import { acquireResources, needsResources, noResources, type Resources } from './resources.ts';
import type { AsBytes, ContainerSpec, RunOptions } from './types.ts';
import { validatePooled } from './validate-pool.ts';

const GONE = 'Take another one; likely a signal or the memory limit ended it';

/** Options of a command in a pooled sandbox: what can still be decided when everything else is made. */
export interface PooledRunOptions
  extends Pick<RunOptions, 'stdin' | 'timeout' | 'signal' | 'maxOutput' | 'check' | 'encoding' | 'buffer'> {
  /** Added to the environment of the template; a variable of the same name is replaced. */
  readonly env?: Readonly<Record<string, string>>;
  /** Absolute, inside the root; has to be there (`ERR_NS_CONTAINER_START`). Default: the template's. */
  readonly cwd?: string;
}

/**
 * A sandbox for one command, ready but for the command. Whoever has acquired it runs its command, or disposes of it; until then it
 * keeps no event loop alive.
 */
export class PooledSandbox implements AsyncDisposable {
  readonly id: string;
  /** Settles when nothing of it is left. */
  readonly ended: Promise<void>;
  readonly #launched: Launched;
  readonly #streams: StandardStreams;
  readonly #resources: Resources;
  /** What the template says: `NAME=value`. */
  readonly #env: readonly string[];
  readonly #recentCommands: RecentCommands;
  readonly #warnings: ContainerDesign['warnings'];
  #likely: RecentCommands['latest'];
  #used = false;
  /** Settles when the accounts of its command were read and its resources freed. */
  #finished: Promise<void> | undefined;
  #alive = true;

  private constructor(
    id: string,
    launched: Launched,
    streams: StandardStreams,
    resources: Resources,
    { env, warnings }: ContainerDesign,
  ) {
    this.id = id;
    this.#launched = launched;
    this.#streams = streams;
    this.#resources = resources;
    this.#env = env;
    this.#recentCommands = recentCommandsOf(env, this.#hostname);
    this.#warnings = warnings;
    this.ended = launched.exited.then(async () => {
      this.#alive = false;
      if (!this.#used) streams.destroy();
      // A command has its accounts read first.
      await (this.#finished ?? release(resources));
    });
  }

  /** @internal */
  static async make(template: ContainerSpec): Promise<PooledSandbox> {
    await ownTurn('filling a pool');
    const id = newId();
    const resources = needsResources(template) ? await acquireResources(id, template) : noResources;
    const streams = new StandardStreams(['pipe', 'pipe', 'pipe']);
    let sandbox: PooledSandbox;
    try {
      const { launched, design } = launchContainer(template, {
        ...resources,
        id,
        streams,
        park: false,
        programLater: true,
        keepScratch: false,
      });
      sandbox = new PooledSandbox(id, launched, streams, resources, design);
    } catch (error) {
      streams.destroy();
      throw await rollBack(error, () => resources[Symbol.asyncDispose]());
    }
    const launched = sandbox.#launched;
    try {
      await launched.ready;
      sandbox.#prepare();
    } catch (error) {
      // What failed may have been ours to do: then it still waits.
      launched.kill();
      const { failure } = await launched.exited;
      await sandbox[Symbol.asyncDispose]();
      throw failure
        ? new ContainerStartError(failure)
        : new NsError('ERR_NS_SANDBOX_GONE', 'the sandbox was ended during its start', {
            hint: GONE,
            cause: error,
          });
    }
    streams.prepareToCollect();
    launched.unref();
    return sandbox;
  }

  /** What was run last is what is likely to be run next: then nothing is left to do but to tell it to begin. */
  #prepare(): void {
    const { latest } = this.#recentCommands;
    this.#likely = latest;
    this.#launched.prepareToContinue(latest?.program, [this.#hostname]);
  }

  /** @internal Somebody waits for its end: it keeps the event loop alive from now on. */
  lookOn(): void {
    this.#launched.ref();
  }

  /** By default; what is left of its environment that no other sandbox of the template has. */
  get #hostname(): string {
    return this.id.slice(0, 12);
  }

  /** It has not ended, as far as the kernel knows. */
  get alive(): boolean {
    return this.#alive && this.#launched.alive;
  }

  /**
   * Runs the command this sandbox was made for. Once.
   *
   * @throws NsError (as a rejection) `ERR_NS_SANDBOX_USED`; `ERR_NS_SANDBOX_GONE`: somebody has ended it before, so that
   * the command has not been run
   */
  run(
    command: string | readonly string[],
    args: readonly string[],
    options: PooledRunOptions & AsBytes,
  ): ContainerProcess<Buffer>;
  run(command: string | readonly string[], args?: readonly string[], options?: PooledRunOptions): ContainerProcess;
  run(command: string | readonly string[], options: PooledRunOptions & AsBytes): ContainerProcess<Buffer>;
  run(command: string | readonly string[], options: PooledRunOptions): ContainerProcess;
  run(
    command: string | readonly string[],
    args: readonly string[] | PooledRunOptions = [],
    options: PooledRunOptions = {},
  ): ContainerProcess<string | Buffer> {
    if (this.#used)
      return refusedProcess(
        new NsError('ERR_NS_SANDBOX_USED', 'this sandbox has run its command', {
          hint: 'Acquire another one from the pool',
        }),
      );
    this.#used = true;
    this.lookOn();
    try {
      return this.#run(readCall(command, args, options));
    } catch (error) {
      // It serves nobody any more.
      this.#launched.kill();
      this.#streams.destroy();
      return refusedProcess(error);
    }
  }

  #run({ argv, options }: Call<PooledRunOptions>): ContainerProcess<string | Buffer> {
    const calledAt = performance.now();
    const isCalledOff = options.signal?.aborted === true;
    if (isCalledOff) this.#launched.kill();
    // Before all else, which is done while it begins.
    const running = isCalledOff ? undefined : this.#start(argv, options);
    const processOptions = { ...options, command: argv, timeoutMs: options.timeout, calledAt };
    return new ContainerProcess(processOptions, () => running!, this.#streams);
  }

  #start(argv: readonly string[], options: PooledRunOptions): Running {
    try {
      this.#launched.continueWith(this.#stepsOf(argv, options), [this.#hostname]);
    } catch (error) {
      throw isGone(error)
        ? new NsError('ERR_NS_SANDBOX_GONE', 'the sandbox was ended before it had a command', {
            hint: GONE,
            cause: error,
          })
        : error;
    }
    let finished = () => {};
    this.#finished = new Promise((resolve) => {
      finished = resolve;
    });
    return {
      launched: this.#launched,
      warnings: this.#warnings,
      finish: async (exit) => {
        try {
          const ending = await readAccounts(exit, this.#resources.cgroup);
          await release(this.#resources);
          return ending;
        } finally {
          finished();
        }
      },
    };
  }

  #stepsOf(argv: readonly string[], options: PooledRunOptions): readonly Step[] | PreparedProgram {
    const isPlain = Object.keys(options).length === 0;
    if (isPlain && this.#likely && isSame(argv, this.#likely.argv)) return this.#likely.program;
    const recent = this.#recentCommands;
    // What came before is good, if it was texts then and now.
    const known = isPlain && argv.every(isText) && recent.known(keyOf(argv));
    const steps = known || this.#assembled(argv, options);
    if (isPlain && steps instanceof PreparedProgram) recent.latest = { argv, program: steps };
    return steps;
  }

  #assembled(argv: readonly string[], options: PooledRunOptions): readonly Step[] | PreparedProgram {
    const { env = {}, cwd } = validatePooled(argv, options);
    return this.#recentCommands.stepsOf(keyOf(argv, env, cwd), this.#hostname, () => {
      const merged = { ...Object.fromEntries(this.#env.map(splitOnce)), ...env };
      return [
        ...(cwd === undefined ? [] : [{ op: 'workingDirectory', path: cwd, create: false } as const]),
        execStep({
          argv,
          candidates: candidatesFor(argv[0]!, merged.PATH ?? ''),
          env: Object.entries(merged).map(([name, value]) => `${name}=${value}`),
        }),
      ];
    });
  }

  /** Ends it. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.lookOn();
    this.#launched.kill();
    await this.ended;
  }
}

async function release(resources: Resources): Promise<void> {
  if (resources === noResources) return;
  await ownTurn('ending in a pool');
  await resources[Symbol.asyncDispose]();
}

function isGone(error: unknown): boolean {
  return error instanceof SyscallError && error.syscall === 'sendmsg' && ['EPIPE', 'ECONNRESET'].includes(error.code);
}

function isText(value: unknown): boolean {
  return typeof value === 'string';
}

function isSame(texts: readonly string[], others: readonly string[]): boolean {
  return texts.length === others.length && texts.every((text, i) => text === others[i]);
}

/** Equal texts mean equal steps, in an equal environment. */
function keyOf(argv: readonly string[], env: PooledRunOptions['env'] = {}, cwd?: string): string {
  return JSON.stringify([argv, env, cwd]);
}

function splitOnce(entry: string): [string, string] {
  const at = entry.indexOf('=');
  return [entry.slice(0, at), entry.slice(at + 1)];
}
