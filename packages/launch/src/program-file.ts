import { F_SEAL, type Memory, memfd, type OwnedFd } from '@ns/libc';
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
export function sharedProgram(program: PreparedProgram, variables: readonly string[]): ProgramFile {
  return {
    get fd() {
      return fileOf(program).fd;
    },
    get texts() {
      return program.textsFor(variables);
    },
    [Symbol.dispose]: () => {},
  };
}

const KEPT_FILES = 8;
const IDLE_MS = 500;
/** The latest last. */
const files = new Map<PreparedProgram, OwnedFd>();
let idle: NodeJS.Timeout | undefined;

/** Sealed: a process of one container that could write to it would have the others under its command. */
function fileOf(program: PreparedProgram): OwnedFd {
  idle = idle?.refresh() ?? setTimeout(closePrograms, IDLE_MS).unref();
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
  clearTimeout(idle);
  idle = undefined;
  for (const file of files.values()) file.close();
  files.clear();
}
