import { Duplex, type Readable, type Writable } from 'node:stream';
import type { StandardStreams } from '@ns/launch';
import { noInput } from './errors.ts';
import { TerminalStreams } from './terminal-streams.ts';

/** Who has not taken yet what a process wrote: it waits for the last of them. */
const behind = new WeakMap<StandardStreams, Set<AttachedStream>>();

/** Of processes that are gone: nobody waits for those who do not read. */
const ended = new WeakSet<StandardStreams>();

/** Its process has ended: what it has written goes to those who are attached, whether they read or not. */
export function endAttached(streams: StandardStreams): void {
  const slow = behind.get(streams);
  if (!slow) return;
  ended.add(streams);
  slow.clear();
  for (const source of [streams.stdout, streams.stderr]) source?.resume();
}

/**
 * Both directions of a process in one stream, for one of several who may be attached. A slow reader slows the process down;
 * destroying it leaves the process alone. It closes when the process has ended.
 */
export class AttachedStream extends Duplex {
  readonly #streams: StandardStreams;
  readonly #isFound: boolean;
  readonly #sources: readonly Readable[];
  readonly #behind: Set<AttachedStream>;
  #open: number;
  /** When it has no output any more. */
  #input: Writable | undefined;

  /** @param options - `isFound`: another process made the container */
  constructor(streams: StandardStreams, { isFound }: { isFound: boolean }) {
    super();
    this.#isFound = isFound;
    this.#streams = streams;
    this.#behind = behind.get(streams) ?? new Set();
    behind.set(streams, this.#behind);
    this.#sources = [streams.stdout, streams.stderr]
      .filter((stream) => stream !== null)
      .filter(({ closed }) => !closed);
    this.#open = this.#sources.length;
    for (const source of this.#sources) source.setMaxListeners(0).on('data', this.#onData).once('close', this.#onClose);
    if (this.#open === 0) this.push(null);
    // A program may close its outputs and still read.
    this.once('end', () => {
      const { stdin } = streams;
      if (!stdin || stdin.closed) this.end();
      else this.#input = stdin.setMaxListeners(0).once('close', this.#onInputClose);
    });
  }

  override _read(): void {
    this.#catchUp();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const { stdin } = this.#streams;
    // That it ends without reading all of its input is no error of who wrote it.
    if (!stdin) done(noInput({ isOfOthers: this.#isFound }));
    // Somebody else has ended it: writing to it would take with it what it still has.
    else if (stdin.writableEnded || stdin.destroyed) done();
    else stdin.write(chunk, () => done());
  }

  /** A terminal does not end because one of those who are at it goes away. */
  override _final(done: (error?: Error | null) => void): void {
    if (!(this.#streams instanceof TerminalStreams)) this.#streams.stdin?.end();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    for (const source of this.#sources) source.off('data', this.#onData).off('close', this.#onClose);
    this.#input?.off('close', this.#onInputClose);
    this.#catchUp();
    done(error);
  }

  #catchUp(): void {
    this.#behind.delete(this);
    if (this.#behind.size === 0) for (const source of this.#sources) source.resume();
  }

  readonly #onData = (data: Buffer): void => {
    if (this.push(data) || ended.has(this.#streams)) return;
    this.#behind.add(this);
    for (const source of this.#sources) source.pause();
  };

  readonly #onClose = (): void => {
    if (--this.#open === 0) this.push(null);
  };

  readonly #onInputClose = (): void => {
    this.end();
  };
}
