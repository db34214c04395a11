import { F_SEAL, IdleTimer, type Memory, memfd, type OwnedFd } from '@ns/libc';
import type { PreparedProgram } from './prepared-program.ts';

/* A process maps its program from a file. Making one for each start would take this thread longer than all else that a
   start asks of the kernel, so those of a prepared program share one. */

/** The program of one launch. */
export interface ProgramFile extends Disposable {
  /** Good until the next program is opened. */
  readonly fd: number;
  /** What the process has to receive first; good until the next launch. */
  readonly texts: Memory | undefined;
}

/** A program that only this launch has. */
export function ownProgram(bytes: Buffer): ProgramFile {
  const file = memfd('ns-program', bytes);
  return { fd: file.fd, texts: undefined, [Symbol.dispose]: () => file.close() };
}

/** What this launch has of a program that others have as well. */
export class SharedProgram implements ProgramFile {
  readonly #program: PreparedProgram;
  readonly #variables: readonly string[];

  constructor(program: PreparedProgram, variables: readonly string[]) {
    this.#program = program;
    this.#variables = variables;
  }

  get fd(): number {
    return fileOf(this.#program).fd;
  }

  get texts(): Memory | undefined {
    return this.#program.textsFor(this.#variables);
  }

  [Symbol.dispose](): void {}
}

const KEPT_FILES = 8;
const IDLE_MS = 500;
/** The latest last. */
const files = new Map<PreparedProgram, OwnedFd>();
const idle = new IdleTimer(() => IDLE_MS, closePrograms);

/** Sealed: a process of one container that could write to it would have the others under its command. */
function fileOf(program: PreparedProgram): OwnedFd {
  idle.use();
  const known = files.get(program);
  if (known) return known;
  const made = memfd('ns-program', program.bytes, { seals: F_SEAL.SEAL | F_SEAL.SHRINK | F_SEAL.GROW | F_SEAL.WRITE });
  files.set(program, made);
  if (files.size > KEPT_FILES) {
    const [oldest, file] = files.entries().next().value!;
    files.delete(oldest);
    file.close();
  }
  return made;
}

/** Nothing of it is left when nothing has been started for a while. */
function closePrograms(): void {
  for (const file of files.values()) file.close();
  files.clear();
}
