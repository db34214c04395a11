import type { Lowering } from '../lowering.ts';
import { Label } from '../program.ts';

/** Waits for a word of the caller, of `size` bytes; ends when the caller is gone. */
export function awaitCaller({ asm, statusFd }: Lowering, buffer: number, size: number): void {
  const received = asm.slot();
  const [again, told] = [new Label(), new Label()];
  asm.place(again);
  asm.call('recvfrom', [statusFd, buffer, size, 0, 0, 0], { store: received, tolerate: ['EINTR'], otherwise: again });
  asm.jumpIfEqual(received, size, told);
  asm.call('exit_group', [125]);
  asm.place(told);
}
