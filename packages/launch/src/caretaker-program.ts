import { AT_FDCWD, AT_REMOVEDIR, ERRNO, MAP, MSG, POLLIN, PROT, SOL_SOCKET } from '@ns/libc';
import { HEAD_SIZE, kinds, PLACE_SIZE, PLACES, RECORD_HEAD_SIZE } from './entrusted.ts';
import { Lowering } from './lowering.ts';
import { helperName } from './orphans.ts';
import { type Assembler, Label, Slot } from './program.ts';
import { SIGNAL_PARENT_DIED, SIGNAL_RETIRE } from './signals.ts';
import { killAll } from './steps/kill-members.ts';
import { allowTime, attempts, limitPatience, removeCgroup, removeFlatDirectory } from './steps/leftovers.ts';
import { removeLink } from './steps/remove-link.ts';
import { sendRequest } from './steps/send-request.ts';
import type { Requester } from './zygote-program.ts';

/** Where it has them: beyond any program. */
const MEMORY_AT = 0x20000000;
const MEMORY_SIZE = PLACES * PLACE_SIZE;
/** struct cmsghdr and struct ucred. */
const CONTROL_SIZE = 32;
const SCM_CREDENTIALS = 2;

/**
 * The program of a caretaker: a process that sleeps until its requester has died, reads what that has sent over descriptor 4, and
 * removes what is named there. At any other signal it reads, so that there is room for more; at {@link SIGNAL_RETIRE} it ends.
 *
 * @param thread - its requester may end alone, and the process live on
 */
export function caretakerProgram(
  requester: Omit<Requester, 'policy'>,
  { thread }: { readonly thread: number | undefined },
): Buffer {
  const to = new Lowering({ extra: 0, named: [] });
  const { asm } = to;
  const parent = asm.slot(-1);
  to.lower([
    { op: 'endWithParent', parent: requester.pid },
    { op: 'processName', name: helperName('ns-caretaker') },
    { op: 'notDumpable' },
  ]);
  // Whoever wants to unmount what was the working directory once is not held up.
  asm.call('chdir', [asm.string('/')], { tolerate: 'any' });
  asm.call('close_range', [0, to.statusFd - 1, 0]);
  asm.call('close_range', [to.statusFd + 1, 0xffffffff, 0]);
  asm.call('pidfd_open', [requester.pid, 0], { store: parent, tolerate: 'any' });
  const flags = MAP.PRIVATE | MAP.ANONYMOUS | MAP.FIXED | MAP.NORESERVE;
  asm.call('mmap', [MEMORY_AT, MEMORY_SIZE, PROT.READ | PROT.WRITE, flags, -1, 0]);

  const [read, ended, looked, gone] = [new Label(), new Label(), new Label(), new Label()];
  const [died, left] = [new Label(), new Label()];
  const [heard, orphaned] = [asm.slot(), asm.slot()];
  const next = waitForWord(to, { retired: ended, read, died, left });
  asm.place(died);
  asm.set(heard, 1);
  asm.place(left);
  asm.set(orphaned, 1);
  receive(to, requester, { read, refused: ended, none: looked });
  asm.place(looked);
  asm.jumpIfEqual(orphaned, 0, next);
  if (thread === undefined) {
    // Other threads of it may be in the middle of a system call that makes something.
    const request = asm.words([POLLIN * 2 ** 32]); // struct pollfd: descriptor, events
    const hasEnded = asm.slot();
    asm.jumpIfUnequal(parent, 0, gone, SIGN);
    asm.copy(request, parent.address, 4);
    asm.call('ppoll', [request, 1, asm.words([patienceSeconds, 0]), 0, 0], { store: hasEnded, tolerate: 'any' });
    asm.jumpIfEqual(hasEnded, 1, gone);
  }
  asm.jumpIfUnequal(heard, 0, gone);
  waitForDeath(asm, [requester.pid, thread ?? requester.pid], { attempts: thread === undefined ? 1 : 1000, gone });
  asm.jump(ended);
  asm.place(gone);
  removeAll(to);
  asm.place(ended);
  asm.call('exit_group', [0]);
  return to.finish().bytes;
}

/**
 * Sleeps until a signal arrives, or its requester's end of the socket is closed, which has left then: nobody is sent a signal at
 * the death of a parent that has become another user. What the requester writes wakes nobody.
 *
 * @returns where to sleep again
 */
function waitForWord(
  { asm, statusFd }: Lowering,
  to: { readonly retired: Label; readonly read: Label; readonly died: Label; readonly left: Label },
): Label {
  const [signals, signal, next, silent] = [asm.slot(), asm.slot(), new Label(), new Label()];
  const all = asm.words([-1]);
  asm.call('signalfd4', [-1, all, 8, 0], { store: signals });
  const polled = asm.words([statusFd, POLLIN * 2 ** 32]); // two of struct pollfd
  asm.copy(polled + 8, signals.address, 4);
  asm.place(next);
  asm.call('ppoll', [polled, 2, 0, 0, 0], { tolerate: ['EINTR'], otherwise: next });
  const atOnce = asm.words([0, 0]); // struct timespec
  asm.call('rt_sigtimedwait', [all, 0, atOnce, 8], { store: signal, tolerate: 'any', otherwise: silent });
  asm.jumpIfEqual(signal, SIGNAL_RETIRE, to.retired);
  asm.jumpIfEqual(signal, SIGNAL_PARENT_DIED, to.died);
  asm.jump(to.read);
  asm.place(silent);
  asm.jumpIfEqual(new Slot(polled), 0, next, POLLHUP_RETURNED);
  asm.jump(to.left);
  return next;
}

/**
 * Who has left may live: one that has become another user and could not say that it has no need of this process any more, or
 * one that has executed another program.
 */
function waitForDeath(
  asm: Assembler,
  thread: readonly [number, number],
  { attempts, gone }: { readonly attempts: number; readonly gone: Label },
): void {
  const [left, found, again, silent] = [asm.slot(attempts), asm.slot(), new Label(), new Label()];
  const signals = asm.words([2 ** (SIGNAL_PARENT_DIED - 1)]);
  const soon = asm.words([0, 10_000_000]); // struct timespec
  asm.place(again);
  asm.call('rt_sigtimedwait', [signals, 0, soon, 8], { tolerate: 'any', otherwise: silent });
  asm.jump(gone);
  asm.place(silent);
  // Of others than its own kind it is told only that it may not.
  asm.call('tgkill', [...thread, 0], { store: found, tolerate: 'any' });
  asm.jumpIfEqual(found, -ERRNO.ESRCH, gone);
  asm.add(left, left, -1);
  asm.jumpIfUnequal(left, 0, again);
}

/** Puts all that was sent into its places. */
function receive(
  { asm, statusFd }: Lowering,
  requester: Omit<Requester, 'policy'>,
  { read, refused, none }: { readonly read: Label; readonly refused: Label; readonly none: Label },
): void {
  const got = asm.slot();
  const head = asm.bytes(HEAD_SIZE);
  const [place, size] = [new Slot(head), new Slot(head + 8)];
  const vector = asm.words([0, 0]); // struct iovec
  const control = asm.bytes(CONTROL_SIZE);
  const header = asm.words([0, 0, vector, 1, control, CONTROL_SIZE, 0]); // struct msghdr
  const controlSize = asm.words([CONTROL_SIZE]);
  asm.place(read);
  const peek = [statusFd, head, HEAD_SIZE, MSG.PEEK | MSG.DONTWAIT, 0, 0];
  asm.call('recvfrom', peek, { store: got, tolerate: 'any', otherwise: none });
  asm.jumpIfEqual(got, 0, none);
  asm.jumpIfUnequal(size, 0, refused, ~(PLACE_SIZE - 1));
  asm.jumpIfUnequal(place, 0, refused, ~(MEMORY_SIZE - PLACE_SIZE));
  asm.add(new Slot(vector), place, MEMORY_AT);
  asm.copy(vector + 8, size.address, 8);
  asm.copy(header + 40, controlSize, 8);
  asm.call('recvmsg', [statusFd, header, MSG.DONTWAIT], { tolerate: 'any', otherwise: none });
  // Whoever has less privileges than when this process was made shall not use those it has.
  asm.jumpIfUnequal(new Slot(control + 8), SOL_SOCKET + SCM_CREDENTIALS * 2 ** 32, refused);
  asm.jumpIfUnequal(new Slot(control + 16), BigInt(requester.pid) + (BigInt(requester.uid) << 32n), refused);
  asm.jumpIfUnequal(new Slot(control + 24), requester.gid, refused, 0xffffffff);
  asm.jump(read);
}

/** Removes what stands in all places: of each kind all, then those of the next. Cgroups that were busy for long come last. */
function removeAll({ asm }: Lowering): void {
  const passes = [
    ...Object.values(kinds).map((kind) => [kind, attempts.first]),
    ...[kinds.cgroups, kinds.parents].map((kind) => [kind, attempts.last]),
  ];
  const nextPass = asm.slot(asm.words([...passes.flat(), 0, 0]));
  const pass = asm.bytes(PASS_SIZE);
  const [wanted, most] = [new Slot(pass), new Slot(pass + 8)];
  const [place, cursor] = [asm.slot(), asm.slot()];
  const head = asm.bytes(RECORD_HEAD_SIZE);
  const [kind, size, dataSize, argument] = [0, 8, 16, 24].map((at) => new Slot(head + at)) as [Slot, Slot, Slot, Slot];
  const [data, path, name] = [asm.slot(), asm.slot(), asm.slot()];
  const [again, nextPlace, next, done] = [new Label(), new Label(), new Label(), new Label()];
  limitPatience(asm);
  asm.place(again);
  asm.copy(pass, nextPass, PASS_SIZE);
  asm.jumpIfEqual(wanted, 0, done);
  asm.add(nextPass, nextPass, PASS_SIZE);
  asm.set(place, MEMORY_AT);
  asm.place(nextPlace);
  asm.jumpIfEqual(place, MEMORY_AT + MEMORY_SIZE, again);
  asm.add(cursor, place, HEAD_SIZE);
  asm.add(place, place, PLACE_SIZE);
  asm.place(next);
  asm.copy(head, cursor, RECORD_HEAD_SIZE);
  asm.jumpIfEqual(kind, 0, nextPlace);
  asm.add(data, cursor, RECORD_HEAD_SIZE);
  asm.add(path, data, dataSize);
  asm.add(name, path, argument);
  asm.add(cursor, cursor, size);
  asm.jumpIfUnequal(kind, wanted, next);
  allowTime(asm);
  const text = { at: data, length: dataSize };
  const request = () => sendRequest(asm, argument, text, next);
  const removals: Readonly<Record<keyof typeof kinds, () => void>> = {
    requests: request,
    lastRequests: request,
    files: () => unlink(asm, path, 0, next),
    links: () => removeLink(asm, { directory: path, name, text, room: PATH_MAX }, next),
    cgroups: () => removeCgroup(asm, path, { empty: killAll, most, next }),
    directories: () => removeFlatDirectory(asm, path, next),
    parents: () => unlink(asm, path, AT_REMOVEDIR, next),
  };
  for (const [name, remove] of Object.entries(removals)) {
    const other = new Label();
    asm.jumpIfUnequal(kind, kinds[name as keyof typeof kinds], other);
    remove();
    asm.place(other);
  }
  asm.place(done);
}

function unlink(asm: Assembler, path: Slot, flags: number, next: Label): void {
  asm.call('unlinkat', [AT_FDCWD, path, flags], { tolerate: 'any' });
  asm.jump(next);
}

/** In `revents` of a struct pollfd that is read as one word. */
const POLLHUP_RETURNED = 0x10n << 48n;
/** Which kind, and how many attempts. */
const PASS_SIZE = 16;
/** How long a killed process may take to be gone. */
const patienceSeconds = 10;
/** No text of a link is longer. */
const PATH_MAX = 4096;
/** Of an errno in place of a descriptor. */
const SIGN = 1n << 63n;
