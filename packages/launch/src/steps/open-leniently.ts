import { O } from '@ns/libc';
import { type Assembler, Label, type Operand, type Slot } from '../program.ts';

/** Opens a file that may not be there, or not for us: then it goes on at `otherwise`. */
export function openLeniently(
  asm: Assembler,
  directory: Operand,
  path: Operand,
  flags: number,
  { into, otherwise }: { readonly into: Slot; readonly otherwise: Label },
): void {
  asm.call('openat', [directory, path, flags | O.CLOEXEC], { store: into, tolerate: 'any', otherwise });
}

/** Writes a word to such a file. */
export function writeLeniently(asm: Assembler, directory: Operand, name: string, word: string): void {
  const file = asm.slot();
  const cannot = new Label();
  openLeniently(asm, directory, asm.string(name), O.WRONLY, { into: file, otherwise: cannot });
  asm.call('write', [file, asm.string(word), word.length], { tolerate: 'any' });
  asm.call('close', [file]);
  asm.place(cannot);
}

/** The same of a directory. */
export function openDirectory(
  asm: Assembler,
  at: Operand,
  path: Operand,
  to: { readonly into: Slot; readonly otherwise: Label },
): void {
  openLeniently(asm, at, path, O.RDONLY | O.DIRECTORY | O.NOFOLLOW, to);
}

/** Lets others get on for two milliseconds. */
export function pause(asm: Assembler): void {
  asm.call('nanosleep', [asm.words([0, 2_000_000]), 0], { tolerate: 'any' }); // struct timespec
}
