import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { buildProgram } from './c-programs.ts';

/** How long each run took, and how long all took together. */
export interface Measured {
  readonly runsMs: readonly number[];
  readonly totalMs: number;
}

/** A command that a small C program (bench/c/timer.c) starts and times, so that no cost of Node's is in the figures. */
export class TimedCommand implements Disposable {
  readonly #timer: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  /** @param options.hideFile - a file that the command sees as empty */
  constructor(command: readonly string[], options: { hideFile?: string } = {}) {
    const hide = options.hideFile === undefined ? [] : ['--null', options.hideFile];
    this.#timer = spawn(buildProgram('timer'), [...hide, ...command], {
      stdio: ['pipe', 'pipe', 'inherit'],
      // As clean as that of a container: some variables make a command slow.
      env: { PATH: process.env.PATH, HOME: process.env.HOME },
    });
    this.#answers = createInterface(this.#timer.stdout!)[Symbol.asyncIterator]();
  }

  /** Runs the command, `parallel` at a time. */
  async measure(runs: number, parallel = 1): Promise<Measured> {
    this.#timer.stdin!.write(`${runs} ${parallel}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`${this.#timer.spawnargs.join(' ')} failed`);
    const milliseconds = (value as string).split(' ').map((ns) => Number(ns) / 1e6);
    return { runsMs: milliseconds.slice(0, -1), totalMs: milliseconds.at(-1)! };
  }

  [Symbol.dispose](): void {
    this.#timer.stdin!.end();
  }
}
