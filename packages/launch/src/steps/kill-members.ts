import { O } from '@ns/libc';
import { type Assembler, Label, type Slot } from '../program.ts';
import { SIGNALS } from '../signals.ts';
import { openLeniently, writeLeniently } from './open-leniently.ts';

/** Does something to an open cgroup so that it may be removed. */
export type EmptyCgroup = (asm: Assembler, cgroup: Slot) => void;

/**
 * Kills every process of an open cgroup, children not counted. A process that is being made meanwhile may escape a tree
 * without a freezer: whoever removes the cgroup finds it busy, and comes again.
 */
export function killMembers(asm: Assembler, cgroup: Slot): void {
  const cannot = new Label();
  // While they are frozen they neither fork nor end, so nobody else has their numbers.
  setState(asm, cgroup, 'FROZEN');
  const members = asm.slot();
  openLeniently(asm, cgroup, asm.string('cgroup.procs'), O.RDONLY, { into: members, otherwise: cannot });
  killListed(asm, members);
  asm.call('close', [members]);
  asm.place(cannot);
  // Frozen they would not even die.
  setState(asm, cgroup, 'THAWED');
}

/** Kills them by the kernel's own hand where it has one (`cgroup.kill`, since 5.14): a number that was read may be another's by then. */
export function killAll(asm: Assembler, cgroup: Slot): void {
  const file = asm.slot();
  const [cannot, killed] = [new Label(), new Label()];
  openLeniently(asm, cgroup, asm.string('cgroup.kill'), O.WRONLY, { into: file, otherwise: cannot });
  asm.call('write', [file, asm.string('1'), 1], { tolerate: 'any' });
  asm.call('close', [file]);
  asm.jump(killed);
  asm.place(cannot);
  killMembers(asm, cgroup);
  asm.place(killed);
}

/** Where there is a freezer. */
function setState(asm: Assembler, cgroup: Slot, state: 'FROZEN' | 'THAWED'): void {
  writeLeniently(asm, cgroup, 'freezer.state', state);
}

/** Reads numbers of processes, one a line, and kills each. */
function killListed(asm: Assembler, file: Slot): void {
  const buffer = asm.bytes(BUFFER_SIZE);
  const [length, cursor, end, character, pid] = [asm.slot(), asm.slot(), asm.slot(), asm.slot(), asm.slot()];
  const [read, look, digit, done] = [new Label(), new Label(), new Label(), new Label()];
  asm.place(read);
  asm.call('read', [file, buffer, BUFFER_SIZE], { store: length, tolerate: 'any', otherwise: done });
  asm.jumpIfEqual(length, 0, done);
  asm.set(cursor, buffer);
  asm.add(end, buffer, length);
  asm.place(look);
  asm.jumpIfEqual(cursor, end, read);
  asm.copy(character.address, cursor, 1);
  asm.add(cursor, cursor, 1);
  asm.jumpIfUnequal(character, NEWLINE, digit);
  // 0 stands for a process outside of our pid namespace; to kill(2) it is our own process group.
  asm.jumpIfEqual(pid, 0, look);
  asm.call('kill', [pid, SIGNALS.SIGKILL], { tolerate: 'any' });
  asm.set(pid, 0);
  asm.jump(look);
  asm.place(digit);
  appendDigit(asm, pid, character);
  asm.jump(look);
  asm.place(done);
}

/** `number = 10 * number + digit`, by sums. */
function appendDigit(asm: Assembler, number: Slot, character: Slot): void {
  const eightfold = asm.slot();
  asm.add(number, number, number);
  asm.add(eightfold, number, number);
  asm.add(eightfold, eightfold, eightfold);
  asm.add(number, number, eightfold);
  asm.add(number, number, character);
  asm.add(number, number, -ZERO);
}

const BUFFER_SIZE = 512;
const NEWLINE = 0x0a;
const ZERO = 0x30;
