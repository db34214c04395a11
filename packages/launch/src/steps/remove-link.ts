import { AT_FDCWD } from '@ns/libc';
import { type Assembler, Label, type Operand, type Slot } from '../program.ts';
import { openDirectory, pause } from './open-leniently.ts';

/** Bytes in memory. */
export interface Text {
  readonly at: Operand;
  readonly length: Operand;
}

/** A symbolic link that is somebody's only with this text. */
export interface OwnLink {
  readonly directory: Operand;
  readonly name: Operand;
  readonly text: Text;
  /** For the longest text that this may be, and one byte more. */
  readonly room: number;
}

/**
 * Removes a symbolic link, unless there is another text in it. Meanwhile it holds the lock of the directory: who takes over
 * the links of the dead under it (flock(2)), keeps what he has.
 *
 * @param next - where to go on, in any case
 */
export function removeLink(asm: Assembler, { directory, name, text, room }: OwnLink, next: Label): void {
  const [at, got, found] = [asm.slot(), asm.slot(), asm.bytes(room)];
  const done = new Label();
  openDirectory(asm, AT_FDCWD, directory, { into: at, otherwise: next });
  lock(asm, at, done);
  asm.call('readlinkat', [at, name, found, room], { store: got, tolerate: 'any', otherwise: done });
  asm.jumpIfUnequal(got, text.length, done);
  jumpIfDifferent(asm, found, text, done);
  asm.call('unlinkat', [at, name, 0], { tolerate: 'any' });
  asm.place(done);
  asm.call('close', [at]);
  asm.jump(next);
}

/** Not in the kernel: a holder that was stopped would stop us, too. */
function lock(asm: Assembler, directory: Slot, cannot: Label): void {
  const [left, result] = [asm.slot(), asm.slot()];
  const [again, locked] = [new Label(), new Label()];
  asm.set(left, MOST_ATTEMPTS);
  asm.place(again);
  asm.call('flock', [directory, LOCK_EX | LOCK_NB], { store: result, tolerate: 'any' });
  asm.jumpIfEqual(result, 0, locked);
  asm.jumpIfEqual(left, 0, cannot);
  asm.add(left, left, -1);
  pause(asm);
  asm.jump(again);
  asm.place(locked);
}

function jumpIfDifferent(asm: Assembler, found: number, { at, length }: Text, different: Label): void {
  const [cursor, expected, end, one, other] = [asm.slot(), asm.slot(), asm.slot(), asm.slot(), asm.slot()];
  const [look, same] = [new Label(), new Label()];
  asm.set(cursor, found);
  asm.set(expected, at);
  asm.add(end, found, length);
  asm.place(look);
  asm.jumpIfEqual(cursor, end, same);
  asm.copy(one.address, cursor, 1);
  asm.copy(other.address, expected, 1);
  asm.jumpIfUnequal(one, other, different);
  asm.add(cursor, cursor, 1);
  asm.add(expected, expected, 1);
  asm.jump(look);
  asm.place(same);
}

/** At 2 ms each: those who hold it do so for microseconds. */
const MOST_ATTEMPTS = 500;
const LOCK_EX = 2; // <asm-generic/fcntl.h>
const LOCK_NB = 4;
