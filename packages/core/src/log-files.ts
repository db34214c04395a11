import { closeSync, constants, openSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { type OutputFiles, outputTimesPath, StandardStreams } from '@ns/launch';
import { fileCall, type OwnedFd, pipe, ResourceStack } from '@ns/libc';
import { FollowedFile, readOn } from './followed-file.ts';
import { type LogLocation, logPath } from './log-location.ts';
import { RotatedFile } from './rotated-file.ts';

const names = ['stdout', 'stderr'] as const;

/** The output of a container in files, where it outlives who reads it: its monitor writes them. It has no input. */
export class LogFiles extends StandardStreams {
  readonly #pipes: readonly { readonly read: OwnedFd; readonly write: OwnedFd }[];
  readonly #location: LogLocation;
  readonly #streams: readonly FollowedFile[];

  private constructor(location: LogLocation, pipes: readonly { read: OwnedFd; write: OwnedFd }[]) {
    super(['null', pipes[0]?.write.fd ?? 'null', pipes[1]?.write.fd ?? 'null']);
    this.#pipes = pipes;
    this.#location = location;
    using rollback = new ResourceStack();
    rollback.defer(() => super.destroy());
    this.#streams = names.map((name) => {
      const stream = new FollowedFile(logPath(location, name), location.maxFiles);
      rollback.defer(() => stream.destroy());
      return stream;
    });
    rollback.release();
  }

  /** Files for a process that is yet to be started; what earlier runs wrote stays. */
  static create(location: LogLocation): LogFiles {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW;
    for (const path of names.map((name) => logPath(location, name))) {
      for (const file of [path, outputTimesPath(path)]) fileCall(file, () => closeSync(openSync(file, flags, 0o600)));
    }
    using rollback = new ResourceStack();
    const pipes = names.map(() => {
      const { read, write } = pipe();
      return { read: rollback.use(read), write: rollback.use(write) };
    });
    const files = new LogFiles(location, pipes);
    rollback.release();
    return files;
  }

  /** Those of a process that runs already, from now on. */
  static follow(location: LogLocation): LogFiles {
    const files = new LogFiles(location, []);
    files.closeInherited();
    return files;
  }

  /** What the launch must hand to the monitor. */
  get fds(): Record<string, number> {
    return Object.fromEntries(this.#pipes.map(({ read }, index) => [`log:${names[index]}`, read.fd]));
  }

  /** What the monitor has to do. */
  get plan(): OutputFiles {
    const { maxBytes, maxFiles } = this.#location;
    return {
      maxBytes,
      maxFiles,
      streams: names.map((name) => ({ fd: `log:${name}`, path: logPath(this.#location, name) })),
    };
  }

  override get stdout(): Readable {
    return this.#streams[0]!;
  }

  override get stderr(): Readable {
    return this.#streams[1]!;
  }

  /** The process is gone, and its monitor: the streams end with what is in the files. */
  override drain(): void {
    for (const stream of this.#streams) stream.finish();
  }

  /** Settles when all was read. */
  async ended(): Promise<void> {
    await Promise.all(
      this.#streams.map((stream) => stream.closed || new Promise((resolve) => stream.once('close', resolve))),
    );
  }

  override closeInherited(): void {
    super.closeInherited();
    for (const { read, write } of this.#pipes) {
      read.close();
      write.close();
    }
  }

  override destroy(): void {
    super.destroy();
    for (const stream of this.#streams) stream.destroy();
  }
}

/** What a container's files hold of one stream. */
export interface StoredOutput {
  readonly bytes: Buffer;
  /** The beginning was left out. */
  readonly truncated: boolean;
}

/** Reads one stream of a container from its files, within a limit: the end of it. */
export function readLog(location: LogLocation, stream: 'stdout' | 'stderr', limitBytes: number): StoredOutput {
  using file = new RotatedFile(logPath(location, stream), location.maxFiles, 'oldest');
  const kept: Buffer[] = [];
  let size = 0;
  let truncated = false;
  for (let data = readOn(file, 2 ** 20); data; data = readOn(file, 2 ** 20)) {
    kept.push(data);
    size += data.length;
    while (size - kept[0]!.length >= limitBytes && kept.length > 1) {
      size -= kept.shift()!.length;
      truncated = true;
    }
  }
  const bytes = Buffer.concat(kept);
  return { bytes: bytes.subarray(Math.max(0, size - limitBytes)), truncated: truncated || size > limitBytes };
}
