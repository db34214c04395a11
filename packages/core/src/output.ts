import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

/** Which stream a chunk came from: 1 stdout, 2 stderr. */
export interface OutputChunk {
  readonly fd: 1 | 2;
  readonly data: Buffer;
}

/** What to do when the limit is reached. */
export type OnExceed = 'kill' | 'drop-head' | 'drop-tail';

/**
 * Keeps the output of a process, within one limit for both streams. Chunks are kept as they came and joined once, at
 * the end: a gigabyte that is dropped costs no memory.
 */
export class CapturedOutput {
  readonly #limit: number;
  readonly #onExceed: OnExceed;
  readonly #exceeded: () => void;
  readonly #chunks: OutputChunk[] = [];
  #first = 0;
  #bytes = 0;
  #truncated = false;

  /** @param exceeded - called once, the first time something is dropped */
  constructor(limitBytes: number, onExceed: OnExceed, exceeded: () => void) {
    this.#limit = limitBytes;
    this.#onExceed = onExceed;
    this.#exceeded = exceeded;
  }

  get truncated(): boolean {
    return this.#truncated;
  }

  /** Collects a stream; the promise settles at its end. */
  collect(stream: Readable, fd: 1 | 2): Promise<void> {
    return new Promise((resolve) => {
      stream.on('data', (data: Buffer | string) => {
        // Text where the caller has asked for it with setEncoding.
        this.add({ fd, data: typeof data === 'string' ? Buffer.from(data) : data });
      });
      // A reset pipe is an ended pipe: what came before stays.
      stream.on('error', () => resolve());
      stream.on('close', () => resolve());
    });
  }

  /** Takes a piece of output, which is the limit's to keep or to drop. */
  add(chunk: OutputChunk): void {
    const room = this.#limit - this.#bytes;
    if (chunk.data.length <= room) {
      this.#keep(chunk);
      return;
    }
    const first = !this.#truncated;
    this.#truncated = true;
    if (this.#onExceed === 'drop-head') {
      this.#keep(chunk);
      this.#dropHead();
    } else if (room > 0) {
      this.#keep({ fd: chunk.fd, data: chunk.data.subarray(0, room) });
    }
    if (first) this.#exceeded();
  }

  /** Everything kept of one stream. */
  bytes(fd: 1 | 2): Buffer {
    return Buffer.concat(this.#chunks.slice(this.#first).flatMap((chunk) => (chunk.fd === fd ? [chunk.data] : [])));
  }

  /** As text; a character cut in half by the limit is left out. */
  text(fd: 1 | 2): string {
    const bytes = this.bytes(fd);
    return this.#truncated ? new StringDecoder('utf8').write(bytes) : bytes.toString('utf8');
  }

  #keep(chunk: OutputChunk): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.data.length;
  }

  #dropHead(): void {
    while (this.#bytes > this.#limit) {
      const { fd, data } = this.#chunks[this.#first]!;
      const excess = Math.min(this.#bytes - this.#limit, data.length);
      this.#bytes -= excess;
      if (excess === data.length) this.#first++;
      else this.#chunks[this.#first] = { fd, data: data.subarray(excess) };
    }
    if (this.#first <= 1024) return;
    this.#chunks.splice(0, this.#first);
    this.#first = 0;
  }
}
