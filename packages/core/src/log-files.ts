import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { StandardStreams } from '@ns/launch';
import { O, type OwnedFd, open } from '@ns/libc';
import { FollowedFile } from './followed-file.ts';

const names = { stdout: 'stdout.log', stderr: 'stderr.log' } as const;

/** The output of a container in files of its state directory, where it outlives who reads it. It has no input. */
export class LogFiles extends StandardStreams {
  readonly #writers: readonly OwnedFd[];
  readonly #stdout: FollowedFile;
  readonly #stderr: FollowedFile;

  private constructor(directory: string, writers: readonly OwnedFd[], from: { stdout?: number; stderr?: number }) {
    const [stdout, stderr] = writers;
    super(['null', stdout?.fd ?? 'null', stderr?.fd ?? 'null']);
    this.#writers = writers;
    this.#stdout = new FollowedFile(join(directory, names.stdout), from.stdout);
    this.#stderr = new FollowedFile(join(directory, names.stderr), from.stderr);
  }

  /** Files for a process that is yet to be started; what earlier runs wrote stays. */
  static create(directory: string): LogFiles {
    const flags = O.WRONLY | O.APPEND | O.CREAT | O.NOFOLLOW;
    const writers = [names.stdout, names.stderr].map((name) => open(join(directory, name), flags, { mode: 0o600 }));
    return new LogFiles(directory, writers, {});
  }

  /** Those of a process that runs already, from where {@link readLog} has ended. */
  static follow(directory: string, from: { stdout: number; stderr: number }): LogFiles {
    const files = new LogFiles(directory, [], from);
    files.closeInherited();
    return files;
  }

  override get stdout(): Readable {
    return this.#stdout;
  }

  override get stderr(): Readable {
    return this.#stderr;
  }

  /** The process is gone: the streams end with what is in the files. Settles when that was read. */
  async finish(): Promise<void> {
    const streams = [this.#stdout, this.#stderr];
    for (const stream of streams) stream.finish();
    await Promise.all(streams.map((stream) => stream.closed || once(stream, 'close')));
  }

  override closeInherited(): void {
    super.closeInherited();
    for (const writer of this.#writers) writer.close();
  }

  override destroy(): void {
    super.destroy();
    this.#stdout.destroy();
    this.#stderr.destroy();
  }
}

/** What a container's log holds. */
export interface StoredLog {
  readonly bytes: Buffer;
  /** Of the last write. */
  readonly time: Date;
  /** Where it ended when it was read. */
  readonly end: number;
  /** The beginning was left out. */
  readonly truncated: boolean;
}

/** Reads the end of a stored log. Nothing, when there is none. */
export function readLog(directory: string, stream: keyof typeof names, limitBytes: number): StoredLog {
  const path = join(directory, names[stream]);
  const time = statSync(path, { throwIfNoEntry: false })?.mtime;
  if (!time) return { bytes: Buffer.alloc(0), time: new Date(), end: 0, truncated: false };
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const bytes = Buffer.alloc(Math.min(size, limitBytes));
    const count = readSync(fd, bytes, 0, bytes.length, size - bytes.length);
    return { bytes: bytes.subarray(0, count), time, end: size, truncated: size > limitBytes };
  } finally {
    closeSync(fd);
  }
}
