import { AT_FDCWD, CLOCK_REALTIME, ERRNO, O, POLLIN } from '@ns/libc';
import type { Lowering } from '../lowering.ts';
import { Label, Slot } from '../program.ts';

/**
 * Output that a monitor writes to files by itself, so that it is kept whether or not anybody reads it, in bounded space:
 * the files of a stream are `path`, `path.1`, … with the newest first, none larger than `maxBytes`.
 */
export interface OutputFiles {
  readonly maxBytes: number;
  /** How many files of one stream there are at most. */
  readonly maxFiles: number;
  /** Descriptors from which to read what the payload writes to its 1 and 2, and where it goes. */
  readonly streams: readonly { readonly fd: string; readonly path: string }[];
}

/** Size of a record of when something was written: inode of the file, its size then, seconds and nanoseconds. */
export const OUTPUT_TIME_SIZE = 32;

/** The files beside the output that tell when it was written: `path.times`, `path.times.1`, … */
export function outputTimesPath(path: string): string {
  return `${path}.times`;
}

/** One stream on its way from a pipe to its files. */
interface Relay {
  readonly from: number;
  readonly path: string;
  /** Descriptors of the newest files. */
  readonly file: Slot;
  readonly times: Slot;
  /** The record of the last write: {@link OUTPUT_TIME_SIZE}. */
  readonly record: number;
}

/** Writes the output of a container into files, between the signals a monitor waits for. */
export class OutputRelay {
  readonly #to: Lowering;
  readonly #maxFiles: number;
  readonly #relays: readonly Relay[];
  readonly #devNull: Slot;
  /** A signalfd, beside pipes to wait for: there may be a signal before anybody waits. */
  readonly #signals: Slot;
  /** Set when something was. */
  readonly #lost: Slot;

  /** Opens the files. What an earlier run wrote stays. */
  constructor(to: Lowering, { maxBytes, maxFiles, streams }: OutputFiles) {
    const { asm } = to;
    this.#to = to;
    this.#maxFiles = maxFiles;
    this.#devNull = asm.slot();
    this.#signals = asm.slot();
    this.#lost = asm.slot();
    asm.call('openat', [AT_FDCWD, asm.string('/dev/null'), O.WRONLY | O.CLOEXEC], { store: this.#devNull });
    this.#relays = streams.map(({ fd, path }) => {
      const relay = { from: to.fd(fd), path, file: asm.slot(), times: asm.slot(), record: asm.bytes(OUTPUT_TIME_SIZE) };
      this.#open(path, relay.file, O.CREAT);
      this.#open(outputTimesPath(path), relay.times, O.CREAT);
      for (const file of [relay.file, relay.times]) asm.call('lseek', [file, 0, SEEK_END]);
      this.#identify(relay);
      return relay;
    });
    // The kernel counts for us: a write past the end of what is allowed fails with EFBIG.
    asm.call('prlimit64', [0, RLIMIT_FSIZE, asm.words([maxBytes, maxBytes]), 0]);
    asm.call('signalfd4', [-1, asm.words([-1]), 8, O.CLOEXEC | O.NONBLOCK], { store: this.#signals });
  }

  /** Descriptors that must stay open: the other ends of the pipes too, or a payload that closes its own would be an end of file that wakes us for ever. */
  static descriptors(to: Lowering, { streams }: OutputFiles): number[] {
    return [1, 2, ...streams.map(({ fd }) => to.fd(fd))];
  }

  /** Waits for the next signal, and writes what comes meanwhile. */
  waitForSignal(next: Label): Slot {
    const { asm } = this.#to;
    const polled = asm.words([POLLIN * 2 ** 32, ...this.#relays.map(({ from }) => from + POLLIN * 2 ** 32)]);
    const signal = asm.slot();
    const info = asm.bytes(128); // struct signalfd_siginfo
    asm.place(next);
    asm.copy(polled, this.#signals.address, 4);
    asm.call('ppoll', [polled, this.#relays.length + 1, 0, 0, 8], { tolerate: ['EINTR'], otherwise: next });
    this.#moveAll();
    asm.call('read', [this.#signals, info, 128], { tolerate: ['EAGAIN', 'EINTR'], otherwise: next });
    asm.copy(signal.address, info, 4);
    // Only told that a file is full.
    asm.jumpIfEqual(signal, SIGXFSZ, next);
    return signal;
  }

  /** Writes what is still in the pipes; nobody writes any more, or nobody who counts. */
  drain(): void {
    // Up to the end of a file, into the next one, and once more: a pipe holds no more than a file.
    for (let round = 0; round < 3; round++) this.#moveAll();
  }

  /** Does something if not all of the output found room. */
  ifLost(act: () => void): void {
    const nothing = new Label();
    this.#to.asm.jumpIfEqual(this.#lost, 0, nothing);
    act();
    this.#to.asm.place(nothing);
  }

  #moveAll(): void {
    for (const relay of this.#relays) this.#move(relay);
  }

  /** Moves what a pipe holds, without looking at it: splice(2). Does not block. */
  #move(relay: Relay): void {
    const { asm } = this.#to;
    const { from, file, times, record } = relay;
    const [again, failed, untimed, full] = [new Label(), new Label(), new Label(), new Label()];
    const [rotate, discard, done] = [new Label(), new Label(), new Label()];
    const [moved, noted] = [asm.slot(), asm.slot()];
    asm.place(again);
    const flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    asm.call('splice', [from, 0, file, 0, PIPE_BYTES, flags], { store: moved, tolerate: 'any', otherwise: failed });
    asm.jumpIfEqual(moved, 0, done);
    asm.call('lseek', [file, 0, SEEK_CUR], { store: new Slot(record + 8) });
    asm.call('clock_gettime', [CLOCK_REALTIME, record + 16]);
    asm.call('write', [times, record, OUTPUT_TIME_SIZE], { store: noted, tolerate: 'any', otherwise: untimed });
    asm.jump(done);

    asm.place(untimed);
    asm.jumpIfEqual(noted, -ERRNO.EFBIG, full);
    asm.jump(done);
    // Of many small pieces the times are what fills up.
    asm.place(full);
    this.#rotate(relay, done);
    asm.jump(done);

    asm.place(failed);
    asm.jumpIfEqual(moved, -ERRNO.EAGAIN, done);
    asm.jumpIfEqual(moved, -ERRNO.EINTR, done);
    asm.jumpIfEqual(moved, -ERRNO.EFBIG, rotate);
    asm.jump(discard);
    asm.place(rotate);
    this.#rotate(relay, discard);
    asm.jump(again);

    // A full disk must not stop the container: what finds no room is lost, as with Docker.
    asm.place(discard);
    asm.set(this.#lost, 1);
    asm.call('splice', [from, 0, this.#devNull, 0, PIPE_BYTES, flags], { tolerate: 'any' });
    asm.place(done);
  }

  /** Each file takes the place of the one before it, and a new one begins. */
  #rotate(relay: Relay, otherwise: Label): void {
    const { asm } = this.#to;
    const files = [
      [relay.path, relay.file],
      [outputTimesPath(relay.path), relay.times],
    ] as const;
    for (const [path, file] of files) {
      const opened = asm.slot();
      const next = asm.string(`${path}.next`);
      const nth = (index: number) => asm.string(index === 0 ? path : `${path}.${index}`);
      const rename = (from: number, to: number) =>
        asm.call('renameat2', [AT_FDCWD, from, AT_FDCWD, to, 0], { tolerate: 'any' });
      // First of all, for it is what may fail.
      this.#open(`${path}.next`, opened, O.CREAT | O.TRUNC, otherwise);
      // The oldest first, so that a reader finds what follows a file in its place, or nothing there yet.
      for (let index = this.#maxFiles - 1; index > 0; index--) rename(nth(index - 1), nth(index));
      rename(next, nth(0));
      asm.call('close', [file]);
      asm.copy(file.address, opened.address, 8);
    }
    this.#identify(relay);
  }

  /** Notes which file it is whose growth is timed. */
  #identify({ file, record }: Relay): void {
    const { asm } = this.#to;
    const stat = asm.bytes(144);
    asm.call('fstat', [file, stat]);
    asm.copy(record, stat + 8, 8); // st_ino
  }

  #open(path: string, store: Slot, flags: number, otherwise?: Label): void {
    const { asm } = this.#to;
    const all = O.WRONLY | O.CLOEXEC | O.NOFOLLOW | flags;
    const lenient = otherwise && ({ tolerate: 'any', otherwise } as const);
    asm.call('openat', [AT_FDCWD, asm.string(path), all, 0o600], { store, ...lenient });
  }
}

const SPLICE_F_MOVE = 1; // <fcntl.h>
const SPLICE_F_NONBLOCK = 2;
const SEEK_CUR = 1;
const SEEK_END = 2;
const RLIMIT_FSIZE = 1;
const SIGXFSZ = 25;
// More than a pipe holds, unless somebody made it larger.
const PIPE_BYTES = 2 ** 20;
