import { allocate } from '@ns/libc';

/** Bytes of a piece of an archive. */
export const CHUNK: number = 256 * 1024;

/** An archive in chunks of one size, as it is written. Fresh memory is zero, which holes and padding rely on. */
export class TarChunks {
  #memory = allocate(CHUNK);
  #used = 0;
  #full: Buffer[] = [];

  get room(): number {
    return CHUNK - this.#used;
  }

  /** Address of the free part. */
  get address(): number {
    return this.#memory.address + this.#used;
  }

  /** Counts bytes as written, which may be no more than there is room for; holes are just counted. */
  advance(length: number): void {
    this.#used += length;
    if (this.#used < CHUNK) return;
    this.#full.push(this.#memory.bytes);
    this.#memory = allocate(CHUNK);
    this.#used = 0;
  }

  copy(bytes: Buffer, length: number): void {
    for (let done = 0; done < length; ) {
      const copied = bytes.copy(this.#memory.bytes, this.#used, done, Math.min(length, done + this.room));
      this.advance(copied);
      done += copied;
    }
  }

  skip(length: number): void {
    for (let rest = length; rest > 0; ) {
      const skipped = Math.min(rest, this.room);
      this.advance(skipped);
      rest -= skipped;
    }
  }

  get hasFull(): boolean {
    return this.#full.length > 0;
  }

  takeFull(): Buffer[] {
    return this.#full.splice(0);
  }

  takeRest(): Buffer {
    return this.#memory.bytes.subarray(0, this.#used);
  }
}
