import { AT_FDCWD } from '@ns/libc';
import { type Assembler, Label, type Operand, type Slot } from '../program.ts';

/** A text in memory. */
export interface Text {
  readonly at: Operand;
  readonly length: Operand;
}

/**
 * Removes a symbolic link, unless there is another text in it than this.
 *
 * @param room - for the longest text that it may be, and one byte more
 * @param next - where to go on, in any case
 */
export function removeLink(asm: Assembler, path: Operand, text: Text, room: number, next: Label): void {
  const [got, cursor, expected, end] = [asm.slot(), asm.slot(), asm.slot(), asm.slot()];
  const [one, other]: readonly [Slot, Slot] = [asm.slot(), asm.slot()];
  const [look, same] = [new Label(), new Label()];
  const found = asm.bytes(room);
  asm.call('readlinkat', [AT_FDCWD, path, found, room], { store: got, tolerate: 'any', otherwise: next });
  asm.jumpIfUnequal(got, text.length, next);
  asm.set(cursor, found);
  asm.set(expected, text.at);
  asm.add(end, found, got);
  asm.place(look);
  asm.jumpIfEqual(cursor, end, same);
  asm.copy(one.address, cursor, 1);
  asm.copy(other.address, expected, 1);
  asm.jumpIfUnequal(one, other, next);
  asm.add(cursor, cursor, 1);
  asm.add(expected, expected, 1);
  asm.jump(look);
  asm.place(same);
  asm.call('unlinkat', [AT_FDCWD, path, 0], { tolerate: 'any' });
  asm.jump(next);
}
