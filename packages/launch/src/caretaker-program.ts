import { AT_FDCWD, AT_REMOVEDIR, MAP, MSG, PROT, SOL_SOCKET } from '@ns/libc';
import { Lowering } from './lowering.ts';
import { helperName } from './orphans.ts';
import { Label, Slot } from './program.ts';
import { SIGNAL_PARENT_DIED, SIGNAL_RETIRE } from './signals.ts';
import { killMembers } from './steps/kill-members.ts';
import { allowTime, limitPatience, removeCgroup, removeFlatDirectory } from './steps/leftovers.ts';
import { POLLIN } from './steps/process.ts';
import { waitForSignal } from './steps/watched-child.ts';
import type { Requester } from './zygote-program.ts';

/** What is on the machine besides processes, and would stay there when its owner dies. */
export interface Belongings {
  readonly files?: readonly string[];
  /** Directories of cgroups: what still runs in them is killed, and what was made in them goes first. */
  readonly cgroups?: readonly string[];
  /** Directories with nothing but files in them. */
  readonly directories?: readonly string[];
  /** Directories that may be in use by others: tried once. */
  readonly parents?: readonly string[];
}

/** In the order in which they are removed; 0 stands for the end. */
const kinds = { files: 1, cgroups: 2, directories: 3, parents: 4 } as const;

/** How many messages a caretaker remembers. */
export const PLACES = 512;
const PLACE_SIZE = 4096;
/** Where it has them: beyond any program. */
const MEMORY_AT = 0x20000000;
const MEMORY_SIZE = PLACES * PLACE_SIZE;
/** Where in the memory a message goes, and its size. */
const HEAD_SIZE = 16;
/** Kind, and size with the path that follows. */
const RECORD_HEAD_SIZE = 16;
const END_SIZE = 8;
/** struct cmsghdr and struct ucred. */
const CONTROL_SIZE = 32;
const SCM_CREDENTIALS = 2;

/** What takes this place from now on. */
export function placeMessage(place: number, records: readonly Buffer[] = []): Buffer {
  const head = Buffer.alloc(HEAD_SIZE);
  const message = Buffer.concat([head, ...records, Buffer.alloc(END_SIZE)]);
  message.writeUInt32LE(place * PLACE_SIZE);
  message.writeUInt32LE(message.length, 8);
  return message;
}

/** The records of messages, each as long as there is room. A path that is longer than any that the kernel takes is left out. */
export function recordsOf(belongings: Belongings): Buffer[][] {
  const room = PLACE_SIZE - 1 - HEAD_SIZE - END_SIZE;
  const messages: Buffer[][] = [];
  let left = 0;
  for (const [name, kind] of Object.entries(kinds))
    for (const path of belongings[name as keyof Belongings] ?? []) {
      const record = recordOf(kind, path);
      if (record.length > room) continue;
      if (record.length > left) {
        messages.push([]);
        left = room;
      }
      messages.at(-1)!.push(record);
      left -= record.length;
    }
  return messages;
}

function recordOf(kind: number, path: string): Buffer {
  const size = (RECORD_HEAD_SIZE + Buffer.byteLength(path) + 8) & ~7;
  const record = Buffer.alloc(size);
  record.writeUInt32LE(kind, 0);
  record.writeUInt32LE(size, 8);
  record.write(path, RECORD_HEAD_SIZE);
  return record;
}

/**
 * The program of a caretaker: a process that sleeps until its requester has died, reads what that has sent over descriptor 4, and
 * removes what is named there. At any signal it reads, so that there is room for more; at {@link SIGNAL_RETIRE} it ends.
 *
 * @param isThread - its requester may end alone, and the process live on
 */
export function caretakerProgram(
  requester: Omit<Requester, 'policy'>,
  { isThread }: { readonly isThread: boolean },
): Buffer {
  const to = new Lowering({ extra: 0, named: [] });
  const { asm } = to;
  const parent = asm.slot(-1);
  to.lower([
    { op: 'endWithParent', parent: requester.pid },
    { op: 'processName', name: helperName('ns-caretaker') },
    { op: 'notDumpable' },
  ]);
  asm.call('close_range', [0, to.statusFd - 1, 0]);
  asm.call('close_range', [to.statusFd + 1, 0xffffffff, 0]);
  asm.call('pidfd_open', [requester.pid, 0], { store: parent, tolerate: 'any' });
  const flags = MAP.PRIVATE | MAP.ANONYMOUS | MAP.FIXED | MAP.NORESERVE;
  asm.call('mmap', [MEMORY_AT, MEMORY_SIZE, PROT.READ | PROT.WRITE, flags, -1, 0]);

  const [next, read, ended, looked] = [new Label(), new Label(), new Label(), new Label()];
  const orphaned = asm.slot();
  const signal = waitForSignal(to, next);
  asm.jumpIfEqual(signal, SIGNAL_RETIRE, ended);
  asm.jumpIfUnequal(signal, SIGNAL_PARENT_DIED, read);
  asm.set(orphaned, 1);
  if (!isThread) {
    // Other threads of it may be in the middle of a system call that makes something.
    const request = asm.words([POLLIN * 2 ** 32]); // struct pollfd: descriptor, events
    asm.jumpIfUnequal(parent, 0, read, SIGN);
    asm.copy(request, parent.address, 4);
    asm.call('ppoll', [request, 1, asm.words([patienceSeconds, 0]), 0, 0], { tolerate: 'any' });
  }
  receive(to, requester, { read, refused: ended, none: looked });
  asm.place(looked);
  asm.jumpIfEqual(orphaned, 0, next);
  removeAll(to);
  asm.place(ended);
  asm.call('exit_group', [0]);
  return to.finish().bytes;
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

/** Removes what stands in all places. */
function removeAll({ asm }: Lowering): void {
  const [place, cursor, path] = [asm.slot(MEMORY_AT), asm.slot(), asm.slot()];
  const record = asm.bytes(RECORD_HEAD_SIZE);
  const [kind, size] = [new Slot(record), new Slot(record + 8)];
  const [nextPlace, next, done] = [new Label(), new Label(), new Label()];
  const [file, cgroup, directory] = [new Label(), new Label(), new Label()];
  limitPatience(asm);
  asm.place(nextPlace);
  asm.jumpIfEqual(place, MEMORY_AT + MEMORY_SIZE, done);
  asm.add(cursor, place, HEAD_SIZE);
  asm.add(place, place, PLACE_SIZE);
  asm.place(next);
  asm.copy(record, cursor, RECORD_HEAD_SIZE);
  asm.jumpIfEqual(kind, 0, nextPlace);
  asm.add(path, cursor, RECORD_HEAD_SIZE);
  asm.add(cursor, cursor, size);
  allowTime(asm);
  asm.jumpIfEqual(kind, kinds.files, file);
  asm.jumpIfEqual(kind, kinds.cgroups, cgroup);
  asm.jumpIfEqual(kind, kinds.directories, directory);
  asm.call('unlinkat', [AT_FDCWD, path, AT_REMOVEDIR], { tolerate: 'any' });
  asm.jump(next);
  asm.place(file);
  asm.call('unlinkat', [AT_FDCWD, path, 0], { tolerate: 'any' });
  asm.jump(next);
  asm.place(cgroup);
  removeCgroup(asm, path, { empty: killMembers, next });
  asm.place(directory);
  removeFlatDirectory(asm, path, next);
  asm.place(done);
}

/** How long a killed process may take to be gone. */
const patienceSeconds = 10;
/** Of an errno in place of a descriptor. */
const SIGN = 1n << 63n;
