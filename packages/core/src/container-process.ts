import { once } from 'node:events';
import { finished, type Readable, type Writable } from 'node:stream';
import { parseSize } from '@ns/cgroups';
import { type Exit, type Launched, StandardStreams } from '@ns/launch';
import { errnoMessage, errnoNumber, SyscallError, withSpareDescriptors } from '@ns/libc';
import type { ContainerWarning } from './container-warning.ts';
import { defaultMaxOutputBytes } from './defaults.ts';
import { alreadyIterated, ContainerStartError, failedInput, noInput, ProcessFailedError } from './errors.ts';
import { feedInput } from './feed-input.ts';
import { mergeStreams } from './merge-streams.ts';
import { CapturedOutput, type OutputChunk, textLimit } from './output.ts';
import type { Result, Usage } from './result.ts';
import { type TerminalSize, TerminalStreams } from './terminal-streams.ts';
import type { ContainerSpec, MaxOutput } from './types.ts';
import { untilLeft } from './until-left.ts';
import { checkCall } from './validate-calls.ts';

/** What a process was asked to do with its output and its end. */
export interface ProcessOptions {
  readonly command: readonly string[];
  readonly stdin?: ContainerSpec['stdin'] | undefined;
  readonly maxOutput?: MaxOutput | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly check?: boolean | undefined;
  readonly encoding?: 'utf8' | 'buffer' | undefined;
  readonly buffer?: boolean | undefined;
  readonly tty?: boolean | undefined;
  /** Kept by this process's event loop, where the kernel was not told at the start. */
  readonly timeoutMs?: number | undefined;
  /** By `performance.now()`; where it was started before. Default: now. */
  readonly calledAt?: number | undefined;
}

/** A process that was started, and what to do when it has ended. */
export interface Running {
  readonly launched: Launched;
  readonly warnings: readonly ContainerWarning[];
  /** Reads the last figures and frees what belongs to the process; called once, after its end. */
  finish(exit: Exit): Ending | Promise<Ending>;
  /** What a step that failed comes from, where the step would be a riddle. */
  refusal?(): Error | undefined;
}

/** What is known about an end besides its status. */
export interface Ending {
  /** A process of the command was killed because the memory limit was reached. */
  readonly oom: boolean;
  readonly usage: Usage;
}

/**
 * A command in a container: a promise of its {@link Result}, with streams, in the manner of execa.
 *
 * @example
 * const process = run('sh', ['-c', 'echo out; echo err >&2']);
 * for await (const { fd, data } of process) console.log(fd, data.toString());
 * const { exitCode } = await process;
 */
export class ContainerProcess<Output extends string | Buffer = string>
  implements PromiseLike<Result<Output>>, AsyncIterable<OutputChunk>
{
  readonly #streams: StandardStreams;
  readonly #running: Running | undefined | Promise<Running>;
  readonly #abortSignal: AbortSignal | undefined;
  readonly #result: Promise<Result<Output>>;
  #started: Promise<void> | undefined;
  #launched: Launched | undefined;
  /** Those it gets when it exists, in this order. */
  readonly #pendingSignals: NodeJS.Signals[] = [];
  #iterated = false;

  /**
   * @param start - starts the process with the given streams; what it throws, the promise rejects with
   * @param streams - default: pipes
   * @hidden
   */
  constructor(
    options: ProcessOptions,
    start: (streams: StandardStreams) => Running | Promise<Running>,
    streams: StandardStreams = openStreams(options),
  ) {
    const { calledAt = performance.now() } = options;
    this.#streams = streams;
    this.#running = this.#start(options, start);
    // The result tells of it.
    Promise.resolve(this.#running).catch(() => {});
    this.#abortSignal = options.signal;
    this.#result = this.#supervise(this.#running, calledAt, options);
  }

  /**
   * Settles when the program runs; rejects when it never did.
   *
   * @throws ContainerStartError (as a rejection) also where the result has exit code 126 or 127
   */
  get started(): Promise<void> {
    this.#started ??= this.#begun();
    this.#started.catch(() => {});
    return this.#started;
  }

  async #begun(): Promise<void> {
    const running = await this.#running;
    if (!running) throw this.#abortSignal?.reason;
    try {
      await running.launched.executed;
    } catch (error) {
      throw running.refusal?.() ?? (error instanceof SyscallError ? new ContainerStartError(error) : error);
    }
  }

  /** Pid of the container's first process, in the caller's pid namespace; undefined until it exists. */
  get pid(): number | undefined {
    return this.#launched?.pid;
  }

  /**
   * What the program writes; with `tty` all output. Unread, it goes to the result alone, with `buffer: false` nowhere. Who reads it
   * slowly, or calls `pause()`, holds up the program, and its result, which comes after all output.
   */
  get stdout(): Readable {
    return this.#streams.stdout!;
  }

  /** The same of stderr. */
  get stderr(): Readable {
    return this.#streams.stderr!;
  }

  /**
   * Write to the command here. Ask for it in the same turn in which the process was made, or give `stdin: 'pipe'`.
   *
   * @throws NsError `ERR_NS_NO_STDIN`: it was asked for too late, or was given otherwise
   */
  get stdin(): Writable {
    const stdin = this.#streams.stdin;
    if (!stdin) throw noInput();
    return stdin;
  }

  /** Changes the size of the terminal; without one it does nothing. */
  resize(size: TerminalSize): void {
    checkCall('resize', size);
    if (this.#streams instanceof TerminalStreams) this.#streams.resize(size);
  }

  /** Sends a signal to the command, SIGTERM by default. Returns false when it is gone. SIGKILL ends the whole container. */
  kill(signal: NodeJS.Signals = 'SIGTERM'): boolean {
    if (this.#launched) return this.#launched.signal(signal);
    this.#pendingSignals.push(checkCall('signal', { signal }).signal);
    return true;
  }

  // biome-ignore lint/suspicious/noThenProperty: awaiting a process is the point, as in execa
  then<A = Result<Output>, B = never>(
    onFulfilled?: ((value: Result<Output>) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#result.then(onFulfilled, onRejected);
  }

  catch<B = never>(onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<Result<Output> | B> {
    return this.#result.catch(onRejected);
  }

  finally(onFinally?: (() => void) | null): Promise<Result<Output>> {
    return this.#result.finally(onFinally);
  }

  /**
   * Output as it comes, both streams in one. A slow reader slows the command down.
   *
   * @throws NsError `ERR_NS_ALREADY_ITERATED`: the output comes once
   */
  [Symbol.asyncIterator](): AsyncGenerator<OutputChunk, void, undefined> {
    return untilLeft((left) => this.#chunks(left));
  }

  async *#chunks(left: AbortSignal): AsyncGenerator<OutputChunk, void, undefined> {
    if (this.#iterated) throw alreadyIterated();
    this.#iterated = true;
    yield* mergeStreams(this.stdout, this.stderr, left);
    if (!left.aborted) await Promise.race([this.#result, once(left, 'abort')]);
  }

  /** Synchronous wherever it can be: the process exists before the caller's next line runs. */
  #start(
    options: ProcessOptions,
    start: (streams: StandardStreams) => Running | Promise<Running>,
  ): Running | undefined | Promise<Running> {
    if (options.signal?.aborted) return undefined;
    const adopt = (running: Running) => {
      this.#launched = running.launched;
      for (const signal of this.#pendingSignals) running.launched.signal(signal);
      return running;
    };
    try {
      const running = start(this.#streams);
      return running instanceof Promise ? running.then(adopt) : adopt(running);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #supervise(
    starting: Running | undefined | Promise<Running>,
    calledAt: number,
    options: ProcessOptions,
  ): Promise<Result<Output>> {
    const { bytes = defaultMaxOutputBytes, onExceed = 'drop-tail' } = options.maxOutput ?? {};
    const limitBytes = parseSize(bytes, 'maxOutput.bytes');
    let cause: 'abort' | 'output-limit' | 'timeout' | undefined;
    const end = (why: NonNullable<typeof cause>) => {
      cause ??= why;
      this.kill('SIGKILL');
    };
    const onAbort = () => end('abort');
    options.signal?.addEventListener('abort', onAbort, { once: true });
    const timer = options.timeoutMs === undefined ? undefined : setTimeout(end, options.timeoutMs, 'timeout');
    try {
      const output = new CapturedOutput(
        options.encoding === 'buffer' ? limitBytes : textLimit(limitBytes),
        onExceed,
        () => onExceed === 'kill' && end('output-limit'),
      );
      let inputFailure: unknown;
      feedInput(this.#streams, options.stdin, (error) => {
        inputFailure ??= error;
        end('abort');
      });
      const running = await starting;
      if (!running) return unlessFailed(neverStarted<Output>(options), options);
      const collected =
        options.buffer === false
          ? [ended(this.stdout), ended(this.stderr)]
          : ([1, 2] as const).map((fd) => this.#streams.collect(fd, (data) => output.add({ fd, data })));
      const exit = await running.launched.exited;
      let ending: Ending;
      try {
        ending = await running.finish(exit);
      } finally {
        this.#streams.drain();
      }
      const failure = cause === undefined ? exit.failure : undefined;
      if (failure && failure.step?.op !== 'exec') throw running.refusal?.() ?? new ContainerStartError(failure);
      await Promise.all(collected);
      if (inputFailure) throw failedInput(options.command[0]!, inputFailure);
      const notExecuted = failure && new ContainerStartError(failure);
      const encode = (fd: 1 | 2) => (options.encoding === 'buffer' ? output.bytes(fd) : output.text(fd)) as Output;
      const result: Result<Output> = {
        exitCode: notExecuted ? notExecuted.exitCode : exit.exitCode,
        signal: exit.signal,
        reason: cause ?? (exit.timedOut ? 'timeout' : ending.oom ? 'oom' : exit.signal ? 'signal' : 'exit'),
        stdout: encode(1),
        stderr: notExecuted ? (explainNotExecuted(notExecuted, options) as Output) : encode(2),
        truncated: output.truncated,
        durationMs: performance.now() - calledAt,
        usage: ending.usage,
        warnings: running.warnings,
      };
      return unlessFailed(result, options);
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', onAbort);
      this.#streams.closeInherited();
      this.#streams.destroyStdin();
      // At the end of their data already, unless there never was a process.
      if (!this.#launched) this.#streams.destroy();
    }
  }
}

/** The result; with `check` a failure is thrown. */
function unlessFailed<Output extends string | Buffer>(
  result: Result<Output>,
  { check, command }: ProcessOptions,
): Result<Output> {
  if (check && (result.exitCode !== 0 || result.reason !== 'exit')) throw new ProcessFailedError(command[0]!, result);
  return result;
}

/** A process that there will not be. */
export function refusedProcess(reason: unknown, streams = openStreams({})): ContainerProcess {
  return new ContainerProcess({ command: [] }, () => Promise.reject(reason), streams);
}

/** The process of a command; that there are no streams for it is its failure like every other. */
export function beginProcess(
  options: ProcessOptions,
  start: (streams: StandardStreams) => Running | Promise<Running>,
): ContainerProcess<string | Buffer> {
  let streams: StandardStreams;
  try {
    streams = openStreams(options);
  } catch (error) {
    return refusedProcess(error, withSpareDescriptors(closedStreams));
  }
  return new ContainerProcess<string | Buffer>(options, start, streams);
}

/** Streams for a process that is yet to be started. */
export function openStreams(
  { tty, stdin }: Pick<ProcessOptions, 'tty' | 'stdin'>,
  size?: TerminalSize,
): StandardStreams {
  if (tty) return new TerminalStreams(size);
  return new StandardStreams([stdin === 'null' ? 'null' : 'pipe', 'pipe', 'pipe'], { keepWriters: true });
}

function closedStreams(): StandardStreams {
  const streams = openStreams({});
  streams.destroy();
  return streams;
}

/** What a shell prints when a command is not there. */
function explainNotExecuted(error: ContainerStartError, { command, encoding }: ProcessOptions): string | Buffer {
  const { exitCode, errnoCode } = error;
  const why =
    exitCode === 127 ? 'command not found' : `cannot be executed: ${errnoMessage(errnoNumber(errnoCode) ?? 0)}`;
  const text = `${command[0]}: ${why} (${errnoCode})\n`;
  return encoding === 'buffer' ? Buffer.from(text) : text;
}

function neverStarted<Output extends string | Buffer>({ encoding }: ProcessOptions): Result<Output> {
  const empty = (encoding === 'buffer' ? Buffer.alloc(0) : '') as Output;
  const usage = {
    cpuUserMs: undefined,
    cpuSystemMs: undefined,
    memoryPeakBytes: undefined,
    ioReadBytes: undefined,
    ioWriteBytes: undefined,
    pidsPeak: undefined,
  };
  return {
    exitCode: null,
    signal: null,
    reason: 'abort',
    stdout: empty,
    stderr: empty,
    truncated: false,
    durationMs: 0,
    usage,
    warnings: [],
  };
}

/** Waits for the end of a stream that is the caller's to read. One that nobody has begun to read by now nobody will. */
function ended(stream: Readable): Promise<void> {
  setImmediate(() => stream.readableFlowing === null && stream.resume());
  return new Promise((resolve) => {
    finished(stream, { writable: false }, () => resolve());
  });
}
