import { Readable } from 'node:stream';
import {
  addressOf,
  allocate,
  ERRNO,
  F,
  type FdWatch,
  ioctl,
  type Memory,
  type OwnedFd,
  SYS,
  syscall,
  watchFd,
} from '@ns/libc';

// <asm-generic/ioctls.h>
const FIONREAD = 0x541b;
const FIONBIO = 0x5421;
const yes = allocate(4);
yes.bytes.writeInt32LE(1);

/** What a pipe holds unless it is told otherwise, pipe(7), and what is passed on at once at most. */
const PIECE_BYTES = 65536;
/** What a pipe that was full is made to hold. */
const WIDE_BYTES = 4 * PIECE_BYTES;
/** How much is read in one turn of the event loop before others have theirs. */
const PIECES_IN_A_ROW = 8;
/** For one piece: a terminal gives 4 KiB at a time. Who writes single bytes as fast as we read must not hold us. */
const READS_FOR_A_PIECE = 16;
/** What the next piece is read into. */
let room: Memory | undefined;
const count = allocate(4);

/**
 * What is written to a pipe or a terminal, from its other side. Node's own stream for terminals takes the end of the processes
 * for the end of their output, and loses what the kernel still has of it: some kilobytes. And all of Node's wait for the last
 * who can write, who may be anybody: see {@link drain}.
 */
export class OutputStream extends Readable {
  #fd: OwnedFd | undefined;
  #watch: FdWatch | undefined;
  #wanted = false;
  #referenced = true;
  #isDrained = false;
  #wasFull = false;
  #hasEnded = false;
  #backlog: Backlog | undefined;

  /** @param fd - ours from now on */
  connect(fd: OwnedFd): void {
    this.#fd = fd;
    if (this.destroyed) fd.close();
    else if (this.#wanted) this._read();
  }

  /** Nothing will come, unless something does already. */
  abandon(): void {
    if (!this.#watch) this.#end();
  }

  /**
   * Nobody writes any more who counts: it ends with what is there now, and does not wait for others who have the other side
   * open. What its reader has not taken yet stays for him.
   */
  drain(): void {
    this.#isDrained = true;
    this.#watch?.close();
    this.#watch = undefined;
    if (this.#wanted && !this.destroyed) this._read();
  }

  override _read(): void {
    this.#wanted = true;
    if (!this.#fd || this.#watch) return;
    if (this.#isDrained) {
      this.#backlog ??= new Backlog(this.#fd);
      this.#readOn();
      return;
    }
    this.#watch = watchFd(this.#fd.fd, { readable: true }, () => this.#readOn());
    if (!this.#referenced) this.#watch.unref();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#watch?.close();
    this.#fd?.close();
    done(error);
  }

  ref(): void {
    this.#referenced = true;
    this.#watch?.ref();
  }

  unref(): void {
    this.#referenced = false;
    this.#watch?.unref();
  }

  /**
   * Who writes more than a pipe holds need not be waited for, nor wait, at each 64 KiB. What is no pipe, or more than a user may
   * have, stays.
   */
  #widen(): void {
    if (this.#wasFull) return;
    this.#wasFull = true;
    const size = syscall(SYS.fcntl, this.#fd!.fd, F.GETPIPE_SZ);
    if (size < WIDE_BYTES) syscall(SYS.fcntl, this.#fd!.fd, F.SETPIPE_SZ, WIDE_BYTES);
  }

  #end(): void {
    this.#hasEnded = true;
    this.push(null);
    // Who has left an iterator of it asks for nothing more, not even for the end.
    this.read(0);
  }

  #readOn(): void {
    let isWanted = true;
    // Who is given a piece may be content with it, and destroy the stream.
    for (let i = 0; i < PIECES_IN_A_ROW && isWanted && !this.#hasEnded && !this.destroyed; i++) {
      const { data, atEnd, isEmpty } = readPiece(this.#fd!);
      const ended = atEnd || (this.#backlog?.isTaken(data.length, isEmpty) ?? false);
      if (data.length === PIECE_BYTES) this.#widen();
      if (data.length > 0) isWanted = this.push(data);
      if (ended) this.#end();
      else if (data.length < PIECE_BYTES && isWanted) return;
    }
    if (isWanted && !this.#hasEnded) return;
    this.#wanted = false;
    // Of the end the kernel would tell again and again.
    this.#watch?.close();
    this.#watch = undefined;
  }
}

/** What is left in a pipe or a terminal to which nobody of ours writes any more; others may, for ever. */
export class Backlog {
  #bytes: number;

  constructor({ fd }: OwnedFd) {
    ioctl(fd, FIONBIO, yes.address);
    ioctl(fd, FIONREAD, count.address);
    // What a terminal holds it only tells in part; it is less than this.
    this.#bytes = Math.max(count.bytes.readInt32LE(), WIDE_BYTES);
  }

  /** So much more was read of it, until there was nothing. Was that the last of it? */
  isTaken(bytes: number, isEmpty: boolean): boolean {
    this.#bytes -= bytes;
    return isEmpty || this.#bytes <= 0;
  }
}

/** What there is now, without a copy when it is much. */
function readPiece({ fd }: OwnedFd): { data: Buffer; isEmpty: boolean; atEnd: boolean } {
  room ??= ownMemory(PIECE_BYTES);
  const { bytes, address } = room;
  let size = 0;
  let got = 1;
  for (let reads = 0; reads < READS_FOR_A_PIECE && size < PIECE_BYTES && (got > 0 || got === -ERRNO.EINTR); reads++) {
    got = syscall(SYS.read, fd, address + size, PIECE_BYTES - size);
    if (got > 0) size += got;
  }
  const isEmpty = got === -ERRNO.EAGAIN;
  // EIO is how Linux says that no process has the other side of a terminal open any more.
  const atEnd = got <= 0 && !isEmpty && got !== -ERRNO.EINTR;
  // A little of it must not keep all of it.
  if (size <= PIECE_BYTES / 2) return { data: Buffer.from(bytes.subarray(0, size)), isEmpty, atEnd };
  room = undefined;
  return { data: bytes.subarray(0, size), isEmpty, atEnd };
}

function ownMemory(size: number): Memory {
  const bytes = Buffer.allocUnsafeSlow(size);
  return { bytes, address: addressOf(bytes) };
}
