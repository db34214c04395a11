import { __WALL, LINUX_CAPABILITY_VERSION_3, PR, WNOHANG } from '@ns/libc';
import type { Lowering } from '../lowering.ts';
import { Label, Slot } from '../program.ts';
import { sendRecord } from '../send-record.ts';
import { SIGNALS } from '../signals.ts';
import { closeAllBut } from './close-descriptors.ts';
import type { SupervisionStep } from './supervision.ts';
import { type Child, exitWith, forwardSignal, tellSignal, waitForSignal } from './watched-child.ts';

/** Waits for signals and for orphans, as pid 1. */
export function superviseAsInit(
  to: Lowering,
  { pid, stop, kill, attribute }: Child & { attribute: { fd: Slot; label: string } | undefined },
  { adopt, tellEnd }: Extract<SupervisionStep, { op: 'clone' }>,
): void {
  const { asm } = to;
  sendRecord(to, { kind: 'executing', value: pid });
  if (attribute) asm.call('write', [attribute.fd, asm.string(attribute.label), Buffer.byteLength(attribute.label)]);
  // Nothing but a pipe to the monitor, unless the caller is to be told at once: what CRIU shall restore has no other ends
  // in the world.
  closeAllBut(to, [...(adopt || tellEnd ? [to.statusFd] : []), ...(adopt ? [] : [to.witnessFd])]);
  keepCapabilityToKill(to);

  const status = asm.bytes(8);
  const [next, reap, exited] = [new Label(), new Label(), new Label()];
  const signal = waitForSignal(to, next);
  asm.jumpIfEqual(signal, SIGNALS.SIGCHLD, reap);
  forwardSignal(to, signal, { pid, stop, kill });
  asm.jump(next);

  asm.place(reap);
  const reaped = asm.slot();
  asm.call('wait4', [-1, status, WNOHANG | __WALL, 0], { store: reaped, tolerate: ['ECHILD'], otherwise: next });
  asm.jumpIfEqual(reaped, 0, next);
  asm.jumpIfUnequal(reaped, pid, reap);
  // An exit code we pass on ourselves; a signal a pid 1 cannot die of.
  if (!adopt) {
    tellSignal(to, status);
    if (tellEnd) tellLastEnd(to, status);
    endOthers(to, exited);
  } else {
    sendRecord(to, { kind: 'payloadExit', value: new Slot(status) });
    const others = new Label();
    asm.place(others);
    asm.call('wait4', [-1, 0, __WALL, 0], { tolerate: ['ECHILD', 'EINTR'], otherwise: exited });
    asm.jump(others);
  }
  asm.place(exited);
  exitWith(to, status);
}

/**
 * Ends what the program has left behind and waits for it: what the kernel ends with a pid 1, it counts for nobody (SIGCHLD is
 * ignored by then, zap_pid_ns_processes). Who cannot be killed is left to the kernel soon.
 */
function endOthers({ asm }: Lowering, done: Label): void {
  const [self, reaped] = [asm.slot(), asm.slot()];
  const next = new Label();
  asm.call('getpid', [], { store: self });
  // In a pid namespace of others these would be their processes.
  asm.jumpIfUnequal(self, 1, done);
  asm.call('kill', [-1, SIGNALS.SIGKILL], { tolerate: 'any', otherwise: done });
  asm.place(next);
  asm.call('wait4', [-1, 0, WNOHANG | __WALL, 0], { store: reaped, tolerate: ['ECHILD'], otherwise: done });
  asm.jumpIfUnequal(reaped, 0, next);
  // struct timespec
  const patience = asm.words([0, 100_000_000]);
  asm.call('rt_sigtimedwait', [asm.words([-1]), 0, patience, 8], { tolerate: ['EAGAIN', 'EINTR'], otherwise: done });
  asm.jump(next);
}

/** Signalling a payload that runs as another user is all that is left to do. */
function keepCapabilityToKill({ asm }: Lowering): void {
  asm.call('prctl', [PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0]);
  const killOnly = 1 << CAP_KILL;
  const header = asm.words([LINUX_CAPABILITY_VERSION_3]);
  const sets = asm.bytes(Buffer.from(Uint32Array.of(killOnly, killOnly, 0, 0, 0, 0).buffer));
  asm.call('capset', [header, sets], { tolerate: ['EPERM'] });
}

/**
 * Tells the caller of the end of the program with all that the container has used, if the program has left nothing behind:
 * what is still there would be ended by the kernel, and only the monitor knows what it had used by then.
 */
function tellLastEnd(to: Lowering, status: number): void {
  const { asm } = to;
  const [reaped, usage] = [asm.slot(), asm.bytes(144)];
  const [next, alone, others] = [new Label(), new Label(), new Label()];
  asm.place(next);
  asm.call('wait4', [-1, 0, WNOHANG | __WALL, 0], { store: reaped, tolerate: ['ECHILD'], otherwise: alone });
  asm.jumpIfUnequal(reaped, 0, next);
  asm.jump(others);
  asm.place(alone);
  asm.call('getrusage', [RUSAGE_CHILDREN, usage]);
  sendRecord(to, { kind: 'payloadExit', value: new Slot(status), usage });
  asm.place(others);
}

const CAP_KILL = 5;
const RUSAGE_CHILDREN = -1; // <sys/resource.h>
