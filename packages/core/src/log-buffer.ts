import { EventEmitter, once } from 'node:events';
import type { Patience } from './patience.ts';

/** A piece of output with the moment it was read. */
export interface LogEntry {
  readonly stream: 'stdout' | 'stderr';
  readonly time: Date;
  readonly data: Buffer;
}

/** Which part of a log to read, and how long: the iterator then throws the reason. */
export interface LogOptions extends Patience {
  /** Go on with what comes, until the container ends. Default false. */
  readonly follow?: boolean;
  /** Only the last so many lines. Default: all there are. */
  readonly tail?: number;
  /** Only what was written from this moment on; a number is milliseconds since 1970. Default: all there is. */
  readonly since?: Date | number;
}

/** What Node's memory has of one, about. */
const ENTRY_COST = 400;

/** The output of a container, kept in memory up to a limit; the oldest goes first. */
export class LogBuffer {
  readonly #limit: number;
  readonly #entries: LogEntry[] = [];
  /** Emits `change`. */
  readonly changed: EventEmitter = new EventEmitter();
  #bytes = 0;
  #dropped = 0;
  #ended = false;

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
    this.changed.setMaxListeners(0);
  }

  /** Nothing is added any more, unless the container begins again. */
  get ended(): boolean {
    return this.#ended;
  }

  add(stream: LogEntry['stream'], data: Buffer, time: Date = new Date()): void {
    this.#entries.push({ stream, time, data });
    this.#bytes += data.length;
    while (this.#isFull && this.#entries.length > 1) {
      this.#bytes -= this.#entries.shift()!.data.length;
      this.#dropped++;
    }
    this.changed.emit('change');
  }

  /** What entries cost besides their bytes is limited likewise: of one byte each they would be hundreds of times the limit. */
  get #isFull(): boolean {
    return this.#bytes > this.#limit || this.#entries.length * ENTRY_COST > Math.max(this.#limit, 2 ** 20);
  }

  end(): void {
    this.#ended = true;
    this.changed.emit('change');
  }

  /** A restarted container writes on. */
  reopen(): void {
    this.#ended = false;
  }

  /** The last bytes as text, for error messages. */
  lastText(bytes = 2000): string {
    return Buffer.concat(this.#entries.slice(-64).map(({ data }) => data))
      .toString('utf8')
      .slice(-bytes);
  }

  async *read({ follow = false, tail, since, signal }: LogOptions = {}): AsyncGenerator<LogEntry, void, undefined> {
    const from = since === undefined ? 0 : Number(since);
    let position = this.#dropped;
    if (tail !== undefined) {
      const last = new LastLines(tail);
      for (const entry of this.#entries) if (entry.time.getTime() >= from) last.add(entry);
      position = this.#dropped + this.#entries.length;
      yield* last.entries;
    }
    for (;;) {
      // What was dropped while the reader was away is gone.
      position = Math.max(position, this.#dropped);
      const entry = this.#entries[position - this.#dropped];
      if (entry) {
        position++;
        if (entry.time.getTime() >= from) yield entry;
      } else if (!follow || this.#ended) {
        return;
      } else {
        await once(this.changed, 'change', signal && { signal });
      }
    }
  }
}

/** Keeps the last so many lines of what is added. A line without an end at the end counts as one, too. */
export class LastLines {
  readonly #lines: number;
  #entries: { entry: LogEntry; breaks: number }[] = [];
  #breaks = 0;

  constructor(lines: number) {
    this.#lines = lines;
  }

  add(entry: LogEntry): void {
    const breaks = countBreaks(entry.data);
    this.#entries.push({ entry, breaks });
    this.#breaks += breaks;
    // One break more than lines: it is the one before them.
    while (this.#breaks - this.#entries[0]!.breaks > this.#lines) this.#breaks -= this.#entries.shift()!.breaks;
  }

  get entries(): LogEntry[] {
    const kept: LogEntry[] = [];
    let missing = this.#lines;
    for (const { entry } of this.#entries.toReversed()) {
      if (missing <= 0) break;
      let at = entry.data.length;
      // A final newline ends the last line, it does not begin another.
      if (kept.length === 0 && entry.data[at - 1] === NEWLINE) at--;
      while (at >= 0 && missing > 0) {
        at = at === 0 ? -1 : entry.data.lastIndexOf(NEWLINE, at - 1);
        if (at === -1) break;
        missing--;
      }
      kept.unshift(missing > 0 ? entry : { ...entry, data: entry.data.subarray(at + 1) });
    }
    return kept.filter(({ data }) => data.length > 0);
  }
}

const NEWLINE = 0x0a;

function countBreaks(data: Buffer): number {
  let count = 0;
  for (let at = data.indexOf(NEWLINE); at !== -1; at = data.indexOf(NEWLINE, at + 1)) count++;
  return count;
}
