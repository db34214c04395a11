import { constants } from 'node:buffer';
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

/** Which stream a chunk came from: 1 stdout, 2 stderr. */
export interface OutputChunk {
  readonly fd: 1 | 2;
  readonly data: Buffer;
}

/** What to do when the limit is reached. */
export type OnExceed = 'kill' | 'drop-head' | 'drop-tail';

/** Less than this is a small piece: it costs some hundred bytes of Node's memory besides its own. */
const SMALL = 1024;
/** So many of them are joined. */
const MANY = 1024;

/**
 * Keeps the output of a process, within one limit for both streams. Chunks are kept as they came and joined once, at
 * the end: a gigabyte that is dropped costs no memory. Small ones are joined before, or a limit would not be one.
 */
export class CapturedOutput {
  readonly #limit: number;
  readonly #onExceed: OnExceed;
  readonly #exceeded: () => void;
  readonly #chunks: OutputChunk[] = [];
  #first = 0;
  /** Those from here on were not joined yet, */
  #unjoined = 0;
  /** and so many of them are small. */
  #small = 0;
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
    if (!this.#truncated) return bytes.toString('utf8');
    return this.#onExceed === 'drop-head'
      ? bytes.subarray(continuationLength(bytes)).toString('utf8')
      : new StringDecoder('utf8').write(bytes);
  }

  #keep(chunk: OutputChunk): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.data.length;
    if (chunk.data.length < SMALL && ++this.#small === MANY) this.#joinSmall();
  }

  /** Which stream spoke first is known of the newest alone. */
  #joinSmall(): void {
    const pieces = this.#chunks.splice(Math.max(this.#unjoined, this.#first));
    for (const fd of [1, 2] as const) {
      const own = pieces.flatMap((piece) => (piece.fd === fd ? [piece.data] : []));
      if (own.length > 0) this.#chunks.push({ fd, data: join(own) });
    }
    this.#unjoined = this.#chunks.length;
    this.#small = 0;
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
    this.#unjoined = Math.max(0, this.#unjoined - this.#first);
    this.#first = 0;
  }
}

/** Not in a pool, of which it would keep what others have left there. */
function join(pieces: readonly Buffer[]): Buffer {
  const joined = Buffer.allocUnsafeSlow(pieces.reduce((size, { length }) => size + length, 0));
  let at = 0;
  for (const piece of pieces) at += piece.copy(joined, at);
  return joined;
}

/** What Node can make one text of, and a result is one. */
export function textLimit(limitBytes: number): number {
  return Math.min(limitBytes, constants.MAX_STRING_LENGTH);
}

/** How many bytes at the beginning are the end of a character. */
function continuationLength(bytes: Buffer): number {
  const begin = bytes.subarray(0, 3).findIndex((byte) => (byte & 0xc0) !== 0x80);
  return begin < 0 ? Math.min(bytes.length, 3) : begin;
}
