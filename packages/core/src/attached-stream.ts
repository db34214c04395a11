import { Duplex, type Readable } from 'node:stream';
import type { StandardStreams } from '@ns/launch';
import { noInput } from './errors.ts';

/** Both directions of a process in one stream. A slow reader slows the process down; closing it leaves the process alone. */
export class AttachedStream extends Duplex {
  readonly #streams: StandardStreams;
  readonly #sources: readonly Readable[];
  readonly #onData = (data: Buffer) => {
    if (!this.push(data)) for (const source of this.#sources) source.pause();
  };
  #open: number;

  constructor(streams: StandardStreams) {
    super();
    this.#streams = streams;
    this.#sources = [streams.stdout, streams.stderr].filter((stream) => stream !== null);
    this.#open = this.#sources.length;
    for (const source of this.#sources) {
      source.on('data', this.#onData);
      source.once('close', () => {
        if (--this.#open === 0) this.push(null);
      });
    }
  }

  override _read(): void {
    for (const source of this.#sources) source.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const { stdin } = this.#streams;
    if (stdin) stdin.write(chunk, done);
    else done(noInput());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    for (const source of this.#sources) {
      source.off('data', this.#onData);
      source.resume();
    }
    done(error);
  }
}
