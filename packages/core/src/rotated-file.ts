import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { fileCall, hasCode, holdBriefly } from '@ns/libc';
import { rotatedPath } from './log-location.ts';

/** A file and those it was before, read as one from the oldest to the newest while somebody writes and rotates them. */
export class RotatedFile implements Disposable {
  readonly #path: string;
  readonly #maxFiles: number;
  #fd: number | undefined;
  #inode = 0;
  #position = 0;

  /**
   * @param path - of the newest
   * @param begin - `oldest`: with all there is; `end`: with what is written from now on
   */
  constructor(path: string, maxFiles: number, begin: 'oldest' | 'end') {
    this.#path = path;
    this.#maxFiles = maxFiles;
    if (begin === 'oldest') {
      this.#openOldest();
    } else if (this.#open(0)) {
      this.#position = fstatSync(this.#fd!).size;
    }
  }

  /** Which file it is at. */
  get inode(): number {
    return this.#inode;
  }

  /** How far it has read in this file. */
  get position(): number {
    return this.#position;
  }

  /** When this file was last written. */
  get modifiedAt(): Date {
    return this.#fd === undefined ? new Date() : fstatSync(this.#fd).mtime;
  }

  /** Reads on in this file. Undefined: that is all of it, for now. */
  read(size: number): Buffer | undefined {
    if (this.#fd === undefined) return undefined;
    const buffer = Buffer.allocUnsafe(size);
    const count = readSync(this.#fd, buffer, 0, size, this.#position);
    if (count === 0) return undefined;
    this.#position += count;
    return buffer.subarray(0, count);
  }

  /** Takes back what was read too early. */
  unread(bytes: number): void {
    this.#position -= bytes;
  }

  /**
   * Goes on to the file that has followed this one. Nothing is written to a file that has a follower, so one that was
   * read to its end before it had one must be read once more.
   */
  hasFollower(): boolean {
    return this.#fd === undefined ? false : this.#place() !== 0;
  }

  /** @returns false when there is none (yet) */
  advance(): boolean {
    if (this.#fd === undefined) return this.#openOldest();
    const place = this.#place();
    if (place === 0) return false;
    // It has fallen out of the row: what came right after may have, too.
    if (place === undefined) return this.#openOldest();
    const [fd, inode, position] = [this.#fd, this.#inode, this.#position];
    // Files are moved from the oldest on: as long as ours is where it was, so is the next.
    if (this.#open(place - 1) && inodeOf(rotatedPath(this.#path, place)) === inode) {
      closeSync(fd);
      return true;
    }
    if (this.#fd !== fd) closeSync(this.#fd);
    [this.#fd, this.#inode, this.#position] = [fd, inode, position];
    return false;
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** How many files follow ours. Undefined: it is none of them any more. */
  #place(): number | undefined {
    for (let index = 0; index < this.#maxFiles; index++) {
      if (inodeOf(rotatedPath(this.#path, index)) === this.#inode) return index;
    }
    // It may have been moved from behind us to before us.
    for (let index = this.#maxFiles - 1; index >= 0; index--) {
      if (inodeOf(rotatedPath(this.#path, index)) === this.#inode) return index;
    }
    return undefined;
  }

  /** Files are moved up, so who looks upwards passes none, and the last that he finds is the oldest. */
  #openOldest(): boolean {
    let isOpen = false;
    for (let index = 0; index < this.#maxFiles; index++) {
      const before = this.#fd;
      if (!this.#open(index)) continue;
      if (before !== undefined) closeSync(before);
      isOpen = true;
    }
    return isOpen;
  }

  #open(index: number): boolean {
    const path = rotatedPath(this.#path, index);
    const open = () => openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    let fd: number;
    try {
      // Going on, the one before is closed next.
      fd = fileCall(path, () => (this.#fd === undefined ? open() : holdBriefly(open)));
    } catch (error) {
      // Whoever followed would wait for what is there already.
      if (hasCode(error, 'EMFILE', 'ENFILE')) throw error;
      return false;
    }
    const stat = fstatSync(fd);
    if (!stat.isFile()) {
      closeSync(fd);
      return false;
    }
    this.#fd = fd;
    this.#inode = stat.ino;
    this.#position = 0;
    return true;
  }
}

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}
