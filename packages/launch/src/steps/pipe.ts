import { O } from '@ns/libc';
import type { Lowering } from '../lowering.ts';
import type { Slot } from '../program.ts';

/** A pipe of this process and those it makes. */
export interface Pipe {
  readonly read: Slot;
  readonly write: Slot;
}

/** @param flags - besides close-on-exec */
export function newPipe({ asm }: Lowering, flags = 0): Pipe {
  const fds = asm.bytes(8);
  const [read, write] = [asm.slot(), asm.slot()];
  asm.call('pipe2', [fds, O.CLOEXEC | flags]);
  asm.copy(read.address, fds, 4);
  asm.copy(write.address, fds + 4, 4);
  return { read, write };
}
