import { watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { Readable } from 'node:stream';
import { hasCode } from '@ns/libc';
import { RotatedFile } from './rotated-file.ts';

/** A file that others append to and rotate, read as it grows. Does not keep the event loop alive. */
export class FollowedFile extends Readable {
  readonly #file: RotatedFile;
  readonly #watcher: FileWatch | undefined;
  #wanted = 0;
  #ended = false;

  /** @param begin - default: with what is written from now on */
  constructor(path: string, maxFiles: number, begin: 'oldest' | 'end' = 'end') {
    super();
    // inotify. Before the first read, so that nothing can be missed in between.
    this.#watcher = watchFile(path, () => this.#grown());
    try {
      this.#file = new RotatedFile(path, maxFiles, begin);
    } catch (error) {
      this.#watcher?.close();
      throw error;
    }
  }

  /** Nobody writes any more: what is there now is all. */
  finish(): void {
    this.#ended = true;
    this.#grown();
  }

  override _read(size: number): void {
    const data = readOn(this.#file, size);
    if (data) {
      this.#wanted = 0;
      this.push(data);
    } else if (this.#ended) {
      this.#wanted = 0;
      this.push(null);
    } else {
      this.#wanted = size;
    }
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#watcher?.close();
    this.#file[Symbol.dispose]();
    done(error);
  }

  #grown(): void {
    if (this.#wanted === 0 || this.destroyed) return;
    try {
      this._read(this.#wanted);
    } catch (error) {
      this.destroy(error as Error);
    }
  }
}

/** Reads on, in this file or the next. Undefined: that is all for now. */
export function readOn(file: RotatedFile, size: number): Buffer | undefined {
  for (;;) {
    const followed = file.hasFollower();
    const data = file.read(size);
    // What was read to its end and then followed may have grown in between.
    if (data || !(followed || file.inode === 0) || !file.advance()) return data;
  }
}

/** Watches until it is closed. */
export interface FileWatch {
  close(): void;
}

/**
 * Tells when a file has changed, or another has taken its place. Does not keep the event loop alive.
 *
 * @returns undefined when there is no such directory (any more), and so nothing to watch
 */
export function watchFile(path: string, changed: () => void): FileWatch | undefined {
  const name = basename(path);
  try {
    const watcher = watch(dirname(path), { persistent: false }, (_, file) => {
      if (file === null || file === name) changed();
    });
    watcher.on('error', () => {});
    return watcher;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    // Of a number for all processes of a user, which any container of his may use up: inotify(7).
    if (hasCode(error, 'EMFILE', 'ENOSPC')) return lookAgainAndAgain(changed);
    throw error;
  }
}

function lookAgainAndAgain(changed: () => void): FileWatch {
  const timer = setInterval(changed, LOOK_MS).unref();
  return { close: () => clearInterval(timer) };
}

/** How often it is looked, where the kernel does not tell. */
const LOOK_MS = 50;
