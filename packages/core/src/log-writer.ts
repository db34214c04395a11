import { isUtf8 } from 'node:buffer';
import { closeSync, constants, existsSync, fstatSync, openSync, readSync, renameSync, writeSync } from 'node:fs';
import { OUTPUT_TIME_SIZE, outputTimesPath } from '@ns/launch';
import { fileCall, hasCode, ResourceStack } from '@ns/libc';
import type { LogEntry } from './log-buffer.ts';
import { type LogLocation, logPath, rotatedPath } from './log-location.ts';

/** Writes the output of a container into files, for as long as this process has it. */
export class LogWriter implements Disposable {
  readonly #files: { readonly stdout: EntryFile; readonly stderr: EntryFile };

  /** What earlier runs wrote stays. */
  constructor(location: LogLocation) {
    if (location.format === 'json') {
      const file = new JsonFile(logPath(location, 'stdout'), location);
      this.#files = { stdout: file, stderr: file };
    } else {
      using rollback = new ResourceStack();
      const open = (stream: 'stdout' | 'stderr') => rollback.use(new TimedFile(logPath(location, stream), location));
      this.#files = { stdout: open('stdout'), stderr: open('stderr') };
      rollback.release();
    }
  }

  /**
   * Writes at once: what was told to readers is in the files.
   *
   * @throws Node's error of the file system, such as `ENOSPC`
   */
  write(entry: LogEntry): void {
    this.#files[entry.stream].write(entry);
  }

  [Symbol.dispose](): void {
    this.#files.stdout[Symbol.dispose]();
    this.#files.stderr[Symbol.dispose]();
  }
}

interface EntryFile extends Disposable {
  write(entry: LogEntry): void;
}

type Limits = Pick<LogLocation, 'maxBytes' | 'maxFiles'>;

/** A file that makes room for a new one when it is full. */
class GrowingFile implements Disposable {
  readonly #path: string;
  readonly #limits: Limits;
  #fd = -1;
  size = 0;
  inode = 0;

  constructor(path: string, limits: Limits) {
    this.#path = path;
    this.#limits = limits;
    this.#open(path);
  }

  get room(): number {
    return this.#limits.maxBytes - this.size;
  }

  append(data: Uint8Array): void {
    for (let at = 0; at < data.length; ) {
      const written = writeSync(this.#fd, data, at);
      at += written;
      this.size += written;
    }
  }

  rotate(): void {
    const full = this.#fd;
    const next = `${this.#path}.next`;
    // As the monitor does: the new file first, then from the oldest on.
    this.#open(next, constants.O_TRUNC);
    closeSync(full);
    for (let index = this.#limits.maxFiles - 1; index > 0; index--) {
      try {
        renameSync(rotatedPath(this.#path, index - 1), rotatedPath(this.#path, index));
      } catch (error) {
        if (!hasCode(error, 'ENOENT')) throw error;
      }
    }
    renameSync(next, this.#path);
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  #open(path: string, flags = 0): void {
    const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW } = constants;
    this.#fd = fileCall(path, () => openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | flags, 0o600));
    const { size, ino } = fstatSync(this.#fd);
    [this.size, this.inode] = [size, ino];
  }
}

/** Was the last line of an earlier run cut, as by a kill or a full disk? */
function endsInLine(path: string): boolean {
  const fd = fileCall(path, () => openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW));
  try {
    const { size } = fstatSync(fd);
    const last = Buffer.alloc(1);
    return size > 0 && readSync(fd, last, 0, 1, size - 1) === 1 && last.toString() !== '\n';
  } finally {
    closeSync(fd);
  }
}

/** Lines of JSON: none is cut in two. */
class JsonFile implements EntryFile {
  readonly #file: GrowingFile;
  /** What makes the next line one of its own. */
  #begin: '' | '\n';

  constructor(path: string, limits: Limits) {
    this.#begin = existsSync(path) && endsInLine(path) ? '\n' : '';
    this.#file = new GrowingFile(path, limits);
  }

  write({ stream, time, data }: LogEntry): void {
    const content = isUtf8(data) ? { log: data.toString('utf8') } : { base64: data.toString('base64') };
    const line = Buffer.from(`${this.#begin}${JSON.stringify({ ...content, stream, time: time.toISOString() })}\n`);
    if (line.length > this.#file.room && this.#file.size > 0) this.#file.rotate();
    // Until it is there as a whole.
    this.#begin = '\n';
    this.#file.append(line);
    this.#begin = '';
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

/** The bytes as they come, and their times beside them, in the form in which a monitor writes both. */
class TimedFile implements EntryFile {
  readonly #bytes: GrowingFile;
  readonly #times: GrowingFile;

  constructor(path: string, limits: Limits) {
    using rollback = new ResourceStack();
    this.#bytes = rollback.use(new GrowingFile(path, limits));
    this.#times = rollback.use(new GrowingFile(outputTimesPath(path), limits));
    rollback.release();
  }

  write({ time, data }: LogEntry): void {
    for (let at = 0; at < data.length; ) {
      if (this.#bytes.room <= 0 || this.#times.room < OUTPUT_TIME_SIZE) {
        this.#bytes.rotate();
        this.#times.rotate();
      }
      const piece = data.subarray(at, at + this.#bytes.room);
      this.#bytes.append(piece);
      at += piece.length;
      this.#times.append(timeRecord(this.#bytes, time));
    }
  }

  [Symbol.dispose](): void {
    this.#bytes[Symbol.dispose]();
    this.#times[Symbol.dispose]();
  }
}

function timeRecord({ inode, size }: GrowingFile, time: Date): Buffer {
  const record = Buffer.alloc(OUTPUT_TIME_SIZE);
  const milliseconds = time.getTime();
  const words = [inode, size, Math.floor(milliseconds / 1000), (milliseconds % 1000) * 1_000_000];
  for (const [index, word] of words.entries()) record.writeBigUInt64LE(BigInt(word), index * 8);
  return record;
}
