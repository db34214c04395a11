import { __WALL, WNOHANG } from '@ns/libc';
import type { Lowering } from '../lowering.ts';
import { Label, Slot } from '../program.ts';
import { sendRecord } from '../send-record.ts';
import { SIGNAL_STOP_CHILD, SIGNALS } from '../signals.ts';
import { awaitCaller } from './await-caller.ts';
import { closeAllBut } from './close-descriptors.ts';
import type { SupervisionStep } from './supervision.ts';
import { exitWith, forwardSignal, readEnding, tellSignal, waitForSignal } from './watched-child.ts';

/**
 * Waits for CRIU, then for what it restored beside itself (`--restore-sibling`): our child, too. As pid 1 we take all of it
 * with us, whatever CRIU was at: killed halfway, it leaves processes that wait for it for ever.
 */
export function superviseAsRestorer(
  to: Lowering,
  criu: Slot,
  { ending }: Extract<SupervisionStep, { op: 'clone' }>,
): void {
  const { asm } = to;
  sendRecord(to, { kind: 'executing', value: criu });
  const said = ending === undefined ? [] : [to.fd(ending)];
  closeAllBut(to, [to.statusFd, to.witnessFd, ...said]);
  const status = asm.bytes(8);
  const root = waitForCriu(to, criu, status);

  const [next, reap, ended, silent] = [new Label(), new Label(), new Label(), new Label()];
  // It may have ended by now, and the signal that told so is spent.
  asm.jump(reap);
  const signal = waitForSignal(to, next);
  asm.jumpIfEqual(signal, SIGNALS.SIGCHLD, reap);
  forwardSignal(to, signal, {
    pid: root,
    stop: ending === undefined ? SIGNALS.SIGSTOP : SIGNAL_STOP_CHILD,
    kill: SIGNALS.SIGKILL,
  });
  asm.jump(next);

  asm.place(reap);
  const reaped = asm.slot();
  asm.call('wait4', [root, status, WNOHANG | __WALL, 0], { store: reaped, tolerate: ['ECHILD'], otherwise: ended });
  asm.jumpIfEqual(reaped, 0, next);
  asm.place(ended);
  for (const pipe of said) readEnding(to, pipe, new Slot(status), silent);
  asm.place(silent);
  tellSignal(to, status);
  exitWith(to, status);
}

/** @returns the pid of what it restored, as the caller says */
function waitForCriu(to: Lowering, criu: Slot, status: number): Slot {
  const { asm } = to;
  const [again, restored] = [new Label(), new Label()];
  asm.place(again);
  asm.call('wait4', [criu, status, __WALL, 0], { tolerate: ['EINTR'], otherwise: again });
  asm.jumpIfEqual(new Slot(status), 0, restored, 0xffff);
  asm.call('exit_group', [125]);
  asm.place(restored);
  sendRecord(to, { kind: 'ready' });
  const root = asm.slot();
  awaitCaller(to, root.address, 8);
  return root;
}
