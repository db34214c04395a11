import { closeSync, type FSWatcher, fstatSync, openSync, read, watch } from 'node:fs';
import { Readable } from 'node:stream';

/** A file that others append to, read as it grows. Does not keep the event loop alive. */
export class FollowedFile extends Readable {
  readonly #fd: number;
  readonly #watcher: FSWatcher;
  #position: number;
  #wanted = 0;
  #ended = false;
  #reading = false;

  /** @param from - where to begin; default: its present end */
  constructor(path: string, from?: number) {
    super();
    this.#fd = openSync(path, 'r');
    this.#position = from ?? fstatSync(this.#fd).size;
    // inotify. Before the first read, so that nothing can be missed in between.
    this.#watcher = watch(path, { persistent: false }, () => this.#grown());
    this.#watcher.on('error', () => {});
  }

  /** Nobody writes any more: what is there now is all. */
  finish(): void {
    this.#ended = true;
    this.#grown();
  }

  override _read(size: number): void {
    const buffer = Buffer.allocUnsafe(size);
    this.#wanted = 0;
    const last = this.#ended;
    this.#reading = true;
    read(this.#fd, buffer, 0, size, this.#position, (error, count) => {
      this.#reading = false;
      if (this.destroyed) {
        closeSync(this.#fd);
      } else if (error) {
        this.destroy(error);
      } else if (count > 0) {
        this.#position += count;
        this.push(buffer.subarray(0, count));
      } else if (last) {
        this.push(null);
      } else {
        this.#wanted = size;
        // The end may have come while we read.
        if (this.#ended) this._read(size);
      }
    });
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#watcher.close();
    // Under a read that goes on, the number could be given to another file.
    if (!this.#reading) closeSync(this.#fd);
    done(error);
  }

  #grown(): void {
    if (this.#wanted > 0 && !this.destroyed) this._read(this.#wanted);
  }
}
