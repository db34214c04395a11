import type { EventEmitter } from 'node:events';
import { once } from 'node:events';
import { OUTPUT_TIME_SIZE, outputTimesPath } from '@ns/launch';
import { ResourceStack } from '@ns/libc';
import { readOn, watchFile } from './followed-file.ts';
import { LastLines, type LogEntry, type LogOptions } from './log-buffer.ts';
import { type LogLocation, logPath } from './log-location.ts';
import { RotatedFile } from './rotated-file.ts';

/** A log that may grow. */
export interface GrowingLog {
  /** Nothing is written any more. */
  readonly ended: boolean;
  /** Emits `change`, at the latest at the end. */
  readonly changed: EventEmitter;
}

/** One file, or row of files, whose entries come in the order of their times. */
interface LogSource extends Disposable {
  /** The next entry; undefined when there is none yet. */
  peek(): LogEntry | undefined;
  take(): void;
}

/** Reads the output of a container from its files, both streams in the order in which they were written. */
export async function* readStoredLog(
  location: LogLocation,
  { follow = false, tail, since, signal }: LogOptions,
  log: GrowingLog,
): AsyncGenerator<LogEntry, void, undefined> {
  const from = since === undefined ? 0 : Number(since);
  using watching = new LogWatch(location, log.changed);
  using log_ = openLog(location);
  const next = (): LogEntry | undefined => {
    for (;;) {
      const entry = log_.next();
      if (!entry || entry.time.getTime() >= from) return entry;
    }
  };
  if (tail !== undefined) {
    const last = new LastLines(tail);
    for (let entry = next(); entry; entry = next()) last.add(entry);
    yield* last.entries;
  }
  for (;;) {
    const { ended } = log;
    watching.reset();
    const entry = next();
    if (entry) yield entry;
    else if (!follow || ended) return;
    else await watching.change(signal);
    signal?.throwIfAborted();
  }
}

/** Sources merged by time. */
class MergedLog implements Disposable {
  readonly #sources: readonly LogSource[];

  constructor(sources: readonly LogSource[]) {
    this.#sources = sources;
  }

  next(): LogEntry | undefined {
    let first: { source: LogSource; entry: LogEntry } | undefined;
    for (const source of this.#sources) {
      const entry = source.peek();
      if (entry && (!first || entry.time < first.entry.time)) first = { source, entry };
    }
    first?.source.take();
    return first?.entry;
  }

  [Symbol.dispose](): void {
    for (const source of this.#sources) source[Symbol.dispose]();
  }
}

function openLog(location: LogLocation): MergedLog {
  return new MergedLog(
    location.format === 'json'
      ? [new JsonLines(location)]
      : [new TimedBytes(location, 'stdout'), new TimedBytes(location, 'stderr')],
  );
}

const CHUNK_BYTES = 64 * 1024;

/** Bytes as they came, with the times of their pieces in another file. */
class TimedBytes implements LogSource {
  readonly #stream: LogEntry['stream'];
  readonly #bytes: RotatedFile;
  readonly #times: RotatedFile;
  #mark: { inode: number; position: number; time: Date } | undefined;
  #entry: LogEntry | undefined;

  constructor(location: LogLocation, stream: LogEntry['stream']) {
    this.#stream = stream;
    const path = logPath(location, stream);
    using rollback = new ResourceStack();
    this.#bytes = rollback.use(new RotatedFile(path, location.maxFiles, 'oldest'));
    this.#times = rollback.use(new RotatedFile(outputTimesPath(path), location.maxFiles, 'oldest'));
    rollback.release();
  }

  peek(): LogEntry | undefined {
    this.#entry ??= this.#read();
    return this.#entry;
  }

  take(): void {
    this.#entry = undefined;
  }

  [Symbol.dispose](): void {
    this.#bytes[Symbol.dispose]();
    this.#times[Symbol.dispose]();
  }

  #read(): LogEntry | undefined {
    const data = readOn(this.#bytes, CHUNK_BYTES);
    if (!data) return undefined;
    const begin = this.#bytes.position - data.length;
    this.#seek(begin);
    const mark = this.#mark;
    // The writer notes the time right after the bytes: of the last ones it may not have yet.
    if (mark?.inode !== this.#bytes.inode) return { stream: this.#stream, time: this.#bytes.modifiedAt, data };
    const length = Math.min(data.length, mark.position - begin);
    this.#bytes.unread(data.length - length);
    return { stream: this.#stream, time: mark.time, data: data.subarray(0, length) };
  }

  /** Finds the mark of the piece that begins at a position of the present file. */
  #seek(begin: number): void {
    let hadOwn = false;
    for (;;) {
      const mark = this.#mark;
      const own = mark?.inode === this.#bytes.inode;
      hadOwn ||= own;
      if (own && mark && mark.position > begin) return;
      // Past the marks of this file: the next file's.
      if (mark && !own && hadOwn) return;
      const record = readOn(this.#times, OUTPUT_TIME_SIZE);
      if (record?.length !== OUTPUT_TIME_SIZE) {
        if (record) this.#times.unread(record.length);
        else if (own) this.#mark = undefined;
        return;
      }
      this.#mark = {
        inode: Number(record.readBigUInt64LE(0)),
        position: Number(record.readBigUInt64LE(8)),
        time: new Date(Number(record.readBigInt64LE(16)) * 1000 + Math.floor(Number(record.readBigInt64LE(24)) / 1e6)),
      };
    }
  }
}

/** An object a line, as Docker's json-file driver writes them. */
class JsonLines implements LogSource {
  readonly #file: RotatedFile;
  readonly #entries: LogEntry[] = [];
  #rest: Buffer = Buffer.alloc(0);

  constructor(location: LogLocation) {
    this.#file = new RotatedFile(logPath(location, 'stdout'), location.maxFiles, 'oldest');
  }

  peek(): LogEntry | undefined {
    while (this.#entries.length === 0) {
      const data = readOn(this.#file, CHUNK_BYTES);
      if (!data) return undefined;
      const text = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data]);
      const end = text.lastIndexOf(0x0a) + 1;
      this.#rest = text.subarray(end);
      this.#entries.push(...text.subarray(0, end).toString('utf8').split('\n').flatMap(parseEntry));
    }
    return this.#entries[0];
  }

  take(): void {
    this.#entries.shift();
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

/** A line of a log in JSON; none for one that was cut in half by a crash. */
function parseEntry(line: string): LogEntry[] {
  try {
    const { log, base64, stream, time } = JSON.parse(line) as Record<'log' | 'base64' | 'stream' | 'time', string>;
    const data = base64 === undefined ? Buffer.from(log, 'utf8') : Buffer.from(base64, 'base64');
    return [{ stream: stream === 'stderr' ? 'stderr' : 'stdout', time: new Date(time), data }];
  } catch {
    return [];
  }
}

/** Wakes who follows a log. */
class LogWatch implements Disposable {
  readonly #watchers: readonly Disposable[];
  readonly #changed: EventEmitter;
  #dirty = false;
  #wake = () => {};

  constructor(location: LogLocation, changed: EventEmitter) {
    const paths = new Set((['stdout', 'stderr'] as const).map((stream) => logPath(location, stream)));
    this.#changed = changed;
    changed.on('change', this.#onChange);
    this.#watchers = [...paths].map((path) => {
      const watcher = watchFile(path, this.#onChange);
      return { [Symbol.dispose]: () => watcher?.close() };
    });
  }

  reset(): void {
    this.#dirty = false;
  }

  async change(signal: AbortSignal | undefined): Promise<void> {
    if (this.#dirty) return;
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    if (!signal) return woken;
    signal.throwIfAborted();
    const controller = new AbortController();
    try {
      await Promise.race([woken, once(signal, 'abort', { signal: controller.signal })]);
    } finally {
      controller.abort();
    }
  }

  [Symbol.dispose](): void {
    this.#changed.off('change', this.#onChange);
    for (const watcher of this.#watchers) watcher[Symbol.dispose]();
  }

  readonly #onChange = (): void => {
    this.#dirty = true;
    this.#wake();
  };
}
