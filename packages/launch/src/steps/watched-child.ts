import type { Lowering } from '../lowering.ts';
import { Label, type Operand, Slot } from '../program.ts';
import { SIGNAL_KILL_CHILD, SIGNAL_STOP_CHILD } from '../signals.ts';

/** A child that is watched. */
export interface Child {
  readonly pid: Slot;
  /** What it is sent for SIGNAL_STOP_CHILD: the same again when it is an init itself. */
  readonly stop: number;
  /** And for SIGNAL_KILL_CHILD. */
  readonly kill: number;
}

/**
 * The next signal to arrive. All are blocked since the stage was spawned, so none is lost.
 *
 * @param awaited - numbers; others wait until somebody waits for them. Default: all
 */
export function waitForSignal({ asm }: Lowering, next: Label, awaited?: readonly number[]): Slot {
  const signal = asm.slot();
  const set = awaited?.reduce((bits, number) => bits | (1n << BigInt(number - 1)), 0n) ?? -1;
  asm.place(next);
  asm.call('rt_sigtimedwait', [asm.words([set]), 0, 0, 8], { store: signal, tolerate: ['EINTR'], otherwise: next });
  return signal;
}

/** Passes a signal on to the child. */
export function forwardSignal({ asm }: Lowering, signal: Slot, { pid, stop, kill }: Child): void {
  const [send, notStop] = [new Label(), new Label()];
  asm.jumpIfUnequal(signal, SIGNAL_STOP_CHILD, notStop);
  asm.copy(signal.address, asm.words([stop]), 8);
  asm.jump(send);
  asm.place(notStop);
  asm.jumpIfUnequal(signal, SIGNAL_KILL_CHILD, send);
  asm.copy(signal.address, asm.words([kill]), 8);
  asm.place(send);
  // Unreaped, the child's pid cannot have been given to another process.
  asm.call('kill', [pid, signal], { tolerate: 'any' });
}

/** Says that a signal ended the child, into the pipe that {@link readEnding} reads: of what no pid 1 dies. */
export function tellSignal({ asm, witnessFd }: Lowering, status: number): void {
  const exited = new Label();
  asm.jumpIfEqual(new Slot(status), 0, exited, 0x7f);
  asm.call('write', [witnessFd, status, 8], { tolerate: 'any' });
  asm.place(exited);
}

/** Ends with the exit code in a wait status. */
export function exitWith({ asm }: Lowering, status: number): void {
  const code = asm.slot();
  asm.copy(code.address, status + 1, 1);
  asm.call('exit_group', [code]);
}

/**
 * What an init said of the end of its program, which its own end cannot tell: no pid 1 dies of a signal.
 *
 * @param store - keeps its value when the init has said nothing
 */
export function readEnding({ asm }: Lowering, pipe: Operand, store: Slot, otherwise: Label): void {
  const size = asm.slot();
  asm.call('read', [pipe, store.address, 8], { store: size, tolerate: 'any', otherwise });
  asm.jumpIfEqual(size, 0, otherwise);
}
