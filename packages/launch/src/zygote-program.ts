import { CLONE, MAP, MSG, PR, PROT, SOL_SOCKET } from '@ns/libc';
import { TABLE_SIZE } from './child-table.ts';
import { Lowering, PROGRAM_FD } from './lowering.ts';
import { helperName } from './orphans.ts';
import { Label, Slot } from './program.ts';

/** Most descriptors of one request. Their numbers end where the zygote's own socket is. */
export const MOST_FDS = 60;
/** The last number for which the kernel needs no table beyond the one every process has. */
const SOCKET_FD = 63;
const SCM_CREDENTIALS = 2;
/** A struct cmsghdr with a struct ucred, then one with descriptors. */
const RIGHTS_AT = 32;
const CONTROL_SIZE = RIGHTS_AT + 16 + 4 * MOST_FDS;

/** <linux/sched.h> */
const SCHED = { OTHER: 0, BATCH: 3 } as const;

/** Who may send requests: as SCM_CREDENTIALS has it, the process with its real ids. */
export interface Requester {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /** How its thread is scheduled: sched_getscheduler(2). */
  readonly policy: number;
}

/** Where a zygote has its requester's table of children: beyond any program. */
export const TABLE_AT = 0x20000000;

/**
 * The program of a zygote. For each message that its requester sends over descriptor 4 it makes a process that is the
 * *requester's* child (CLONE_PARENT), finds the descriptors of the message as 0, 1, 2, … and executes the program in
 * descriptor 3, just as if it had been spawned. The message itself is the address at which the kernel writes its pid, in the
 * requester's table of children, descriptor 5.
 */
export function zygoteProgram(requester: Requester): Buffer {
  const to = new Lowering({ extra: 0, named: ['children'] });
  const { asm } = to;
  to.lower([
    { op: 'dieWithParent', parent: requester.pid },
    { op: 'processName', name: helperName('ns-zygote') },
    { op: 'notDumpable' },
  ]);
  // Woken by a request, a batch process does not take the processor from the thread that sent it: that thread soon sleeps.
  const yields = requester.policy === SCHED.OTHER;
  const priority = asm.words([0]); // struct sched_param
  if (yields) asm.call('sched_setscheduler', [0, SCHED.BATCH, priority], { tolerate: 'any' });
  asm.call('mmap', [TABLE_AT, TABLE_SIZE, PROT.READ | PROT.WRITE, MAP.SHARED | MAP.FIXED, to.fd('children'), 0]);
  // Received descriptors get the lowest free numbers: those from 0 on, when there are none but the socket.
  asm.call('dup3', [to.statusFd, SOCKET_FD, 0]);
  asm.call('close_range', [0, SOCKET_FD - 1, 0]);
  asm.call('close_range', [SOCKET_FD + 1, 0xffffffff, 0]);

  const [next, done, refused, child, ended] = [new Label(), new Label(), new Label(), new Label(), new Label()];
  const request = asm.words([0]);
  const control = asm.bytes(CONTROL_SIZE);
  const header = asm.words([0, 0, asm.words([request, 8]), 1, control, CONTROL_SIZE, 0]); // struct msghdr
  const controlSize = asm.words([CONTROL_SIZE]);
  const [received, pid] = [asm.slot(), asm.slot()];
  asm.place(next);
  asm.copy(header + 40, controlSize, 8);
  asm.call('recvmsg', [SOCKET_FD, header, 0], { store: received, tolerate: ['EINTR'], otherwise: next });
  asm.jumpIfEqual(received, 0, ended);
  // Whoever has less privileges than when this process was made shall not get them back here.
  asm.jumpIfUnequal(new Slot(control + 8), SOL_SOCKET + SCM_CREDENTIALS * 2 ** 32, refused);
  asm.jumpIfUnequal(new Slot(control + 16), BigInt(requester.pid) + (BigInt(requester.uid) << 32n), refused);
  asm.jumpIfUnequal(new Slot(control + 24), requester.gid, refused, 0xffffffff);
  // Without its descriptors the process could be no process; the requester sees its status socket end.
  asm.jumpIfUnequal(new Slot(header + 48), 0, done, MSG.CTRUNC);
  // struct clone_args. The signal at its end is that of this process's own: SIGCHLD.
  const args = asm.words([CLONE.PARENT | CLONE.PARENT_SETTID, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  asm.copy(args + 24, request, 8);
  asm.call('clone3', [args, 88], { store: pid, tolerate: 'any', otherwise: done });
  asm.jumpIfEqual(pid, 0, child);
  asm.place(done);
  asm.call('close_range', [0, SOCKET_FD - 1, 0]);
  asm.jump(next);

  asm.place(refused);
  asm.call('exit_group', [125]);
  asm.place(ended);
  asm.call('exit_group', [0]);

  asm.place(child);
  asm.call('close', [SOCKET_FD]);
  asm.call('munmap', [TABLE_AT, TABLE_SIZE]);
  if (yields) asm.call('sched_setscheduler', [0, SCHED.OTHER, priority], { tolerate: 'any' });
  // As after execve: the program decides.
  asm.call('prctl', [PR.SET_DUMPABLE, 1]);
  asm.program(PROGRAM_FD);
  return to.finish().bytes;
}
