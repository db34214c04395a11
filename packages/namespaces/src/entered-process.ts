import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Launched } from '@ns/launch';

/** How a program in other namespaces ended, and what it wrote. */
export interface EnterResult {
  /** `null` when a signal ended it. */
  readonly exitCode: number | null;
  /** `null` when it exited. */
  readonly signal: NodeJS.Signals | null;
  /** Why it ended: on its own (`exit`, `signal`), or by an option of {@link EnterOptions}. */
  readonly reason: 'exit' | 'signal' | 'timeout' | 'abort' | 'output-limit';
  /** As UTF-8. */
  readonly stdout: string;
  /** As UTF-8. */
  readonly stderr: string;
  /** Something of the output is missing. */
  readonly truncated: boolean;
}

/** Given by {@link enter}. */
export interface EnteredProcessOptions {
  /** Ends the program. */
  readonly signal: AbortSignal | undefined;
  /** Bytes of stdout and stderr together. */
  readonly maxOutputBytes: number;
}

// How long streams that a background process keeps open are waited for after the program's end.
const OUTPUT_GRACE_MS = 100;

/**
 * A program that runs in other namespaces. Awaiting it gives an {@link EnterResult}; a non-zero exit is a result, too. What rejects is a
 * program that could not be started.
 *
 * @example
 * ```ts
 * const child = enter({ target: pid, namespaces: ['net'] }, 'ip', ['monitor']);
 * child.stdout.on('data', (lines) => process.stdout.write(lines));
 * const { exitCode, reason } = await child; // rejects with a SyscallError: EPERM for a namespace, ENOENT for the program
 * ```
 */
export class EnteredProcess implements PromiseLike<EnterResult> {
  /** With `stdin: 'pipe'`. */
  readonly stdin: Writable | null;
  /** What it writes, also while the result is awaited. */
  readonly stdout: Readable;
  /** What it writes to file descriptor 2. */
  readonly stderr: Readable;
  /** Its pid as we see it, as soon as it exists. */
  readonly started: Promise<number>;

  readonly #launched: Launched;
  readonly #options: EnteredProcessOptions;
  readonly #ended: Promise<void>;
  #reason: 'abort' | 'output-limit' | undefined;
  #result: Promise<EnterResult> | undefined;

  /** Made by {@link enter}. */
  constructor(launched: Launched, options: EnteredProcessOptions) {
    this.#launched = launched;
    this.#options = options;
    this.stdin = launched.stdin;
    this.stdout = launched.stdout!;
    this.stderr = launched.stderr!;
    this.started = launched.started;
    // A program that does not read its input is no error of ours.
    this.stdin?.on('error', () => {});
    const abort = () => this.#end('abort');
    options.signal?.addEventListener('abort', abort, { once: true });
    this.#ended = launched.exited.then(() => options.signal?.removeEventListener('abort', abort));
  }

  /** Sends a signal, SIGTERM by default. Returns false when the program is gone. */
  kill(signal: NodeJS.Signals = 'SIGTERM'): boolean {
    return this.#launched.signal(signal);
  }

  // biome-ignore lint/suspicious/noThenProperty: awaitable in the manner of execa
  then<A = EnterResult, B = never>(
    onfulfilled?: ((result: EnterResult) => A | PromiseLike<A>) | null,
    onrejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#result ??= this.#collect();
    return this.#result.then(onfulfilled, onrejected);
  }

  #end(reason: 'abort' | 'output-limit'): void {
    this.#reason ??= reason;
    this.#launched.kill();
  }

  async #collect(): Promise<EnterResult> {
    const chunks: [stdout: Buffer[], stderr: Buffer[]] = [[], []];
    let room = this.#options.maxOutputBytes;
    const closed = [this.stdout, this.stderr].map((stream, index) => {
      stream.on('data', (data: Buffer) => {
        if (room > 0) chunks[index]!.push(data.subarray(0, room));
        room -= data.length;
        if (room < 0) this.#end('output-limit');
      });
      return new Promise<void>((resolve) => stream.once('close', resolve).once('error', () => resolve()));
    });
    await this.#ended;
    await Promise.race([Promise.all(closed), sleep(OUTPUT_GRACE_MS, undefined, { ref: false })]);
    for (const stream of [this.stdout, this.stderr]) stream.destroy();
    const { failure, exitCode, signal, timedOut } = await this.#launched.exited;
    if (failure) throw failure;
    const [stdout, stderr] = chunks.map((list) => Buffer.concat(list).toString());
    return {
      exitCode,
      signal,
      reason: this.#reason ?? (timedOut ? 'timeout' : signal ? 'signal' : 'exit'),
      stdout: stdout!,
      stderr: stderr!,
      truncated: room < 0,
    };
  }
}
