import { closeSync, openSync, readSync, truncateSync, writeFileSync } from 'node:fs';
import { buildProgram } from './c-programs.ts';

/** What the event loop of the main thread does between hearing what is ready and asking again. Nanoseconds. */
export interface Turn {
  /** As `process.hrtime` counts. */
  readonly begin: number;
  readonly end: number;
  /** How long the thread had a processor. */
  readonly cpu: number;
}

// bench/c/turns.c: a count, then turns of three words each.
const COUNT_SIZE = 8;
const TURN_SIZE = 24;
const MOST_TURNS = 65_536;
const FILE_SIZE = COUNT_SIZE + MOST_TURNS * TURN_SIZE;

/**
 * Makes the file that the turns of a process are written to.
 *
 * @returns the environment that the process has to be started with
 */
export function turnsEnvironment(path: string): Record<string, string> {
  writeFileSync(path, '');
  truncateSync(path, FILE_SIZE);
  return { LD_PRELOAD: buildProgram('turns', ['-shared', '-fPIC']), NS_BENCH_TURNS: path };
}

/** The turns of this process, which was started with {@link turnsEnvironment}. */
export class Turns implements Disposable {
  readonly #file = openSync(process.env.NS_BENCH_TURNS!, 'r');
  readonly #bytes = Buffer.alloc(FILE_SIZE);
  #taken = 0;

  /** Those that have ended since the last time. */
  take(): Turn[] {
    readSync(this.#file, this.#bytes, 0, FILE_SIZE, 0);
    const words = new BigUint64Array(this.#bytes.buffer, this.#bytes.byteOffset, FILE_SIZE / 8);
    const count = Number(words[0]);
    const first = this.#taken;
    if (count === 0) throw new Error('this Node does not ask the C library what is ready: turns cannot be timed');
    if (count - first > MOST_TURNS) throw new Error('more turns than there is room for');
    this.#taken = count;
    return Array.from({ length: count - first }, (_, i) => {
      const at = 1 + 3 * ((first + i) % MOST_TURNS);
      return { begin: Number(words[at]), end: Number(words[at + 1]), cpu: Number(words[at + 2]) };
    });
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }
}
