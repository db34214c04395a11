import { basename, dirname } from 'node:path';
import { AT_FDCWD, AT_REMOVEDIR, ERRNO, ITIMER_REAL, S, SIG_SETMASK } from '@ns/libc';
import type { Lowering } from '../lowering.ts';
import { type Assembler, Label, type Slot } from '../program.ts';
import { SIGNALS } from '../signals.ts';
import { type EmptyCgroup, killMembers } from './kill-members.ts';
import { openDirectory, pause, writeLeniently } from './open-leniently.ts';
import { removeLink } from './remove-link.ts';

/** What a monitor removes when its caller has died and cannot. */
export interface Leftovers {
  readonly files: readonly string[];
  /** Symbolic links, each with the text in it: one with another text is somebody else's, and stays. */
  readonly links?: readonly { readonly path: string; readonly target: string }[];
  /** Directories of cgroups: what still runs in them is killed (since 5.14), and what was made in them goes first. */
  readonly cgroups: readonly string[];
  /** Their kernel cannot kill what is in them, as in v1's trees: it is frozen and killed one by one. */
  readonly killOneByOne?: boolean;
  /**
   * Directories of cgroups with processes that outlive the first one, whose pid namespace is not theirs alone: killed when it has
   * ended, also for a caller that lives. He may die before he does it himself, and then nobody would.
   */
  readonly survivors?: readonly string[];
  /** Directories that may be in use by others: tried once. */
  readonly parents: readonly string[];
}

/** How long a monitor may be held up in one place; then an alarm ends it. */
const patienceSeconds = 30;

/**
 * How often it looks, 2 ms apart, whether a cgroup that is busy may be removed by now: at first, and when it has done all else.
 * A killed process may take long to be gone, and others shall not wait for it.
 */
export const attempts = { first: 100, last: 2000 } as const;

/** Removes what the caller would have removed. */
export function removeLeftovers(
  { asm }: Lowering,
  { files, links = [], cgroups, killOneByOne, parents }: Leftovers,
): void {
  limitPatience(asm);
  for (const file of files) asm.call('unlinkat', [AT_FDCWD, asm.string(file), 0], { tolerate: 'any' });
  for (const { path, target } of links) {
    const next = new Label();
    const length = Buffer.byteLength(target);
    const [directory, name, at] = [dirname(path), basename(path), target].map((text) => asm.string(text)) as [
      number,
      number,
      number,
    ];
    removeLink(asm, { directory, name, text: { at, length }, room: length + 1 }, next);
    asm.place(next);
  }
  const most = asm.slot(attempts.first);
  const [again, done] = [new Label(), new Label()];
  asm.place(again);
  if (cgroups.length > 0) {
    const empty = killOneByOne ? killMembers : undefined;
    forEachPath(asm, cgroups, (path, next) => removeCgroup(asm, path, { empty, most, next }));
  }
  for (const parent of parents) asm.call('unlinkat', [AT_FDCWD, asm.string(parent), AT_REMOVEDIR], { tolerate: 'any' });
  asm.jumpIfEqual(most, attempts.last, done);
  asm.set(most, attempts.last);
  asm.jump(again);
  asm.place(done);
}

/** Kills whoever has outlived the first process. */
export function killSurvivors({ asm }: Lowering, { survivors = [], killOneByOne }: Leftovers): void {
  const root = asm.slot();
  if (survivors.length === 0) return;
  forEachPath(asm, survivors, (path, next) => {
    openDirectory(asm, AT_FDCWD, path, { into: root, otherwise: next });
    writeLeniently(asm, root, 'cgroup.kill', '1');
    if (killOneByOne) killMembers(asm, root);
    asm.call('close', [root]);
    asm.jump(next);
  });
}

/** From now on an alarm ends this process, unless it gets on. */
export function limitPatience(asm: Assembler): void {
  const allButAlarm = asm.words([-1 - 2 ** (SIGNALS.SIGALRM - 1)]);
  allowTime(asm);
  asm.call('rt_sigprocmask', [SIG_SETMASK, allButAlarm, 0, 8]);
}

/** It gets on. */
export function allowTime(asm: Assembler): void {
  asm.call('setitimer', [ITIMER_REAL, asm.words([0, 0, patienceSeconds, 0]), 0]);
}

/**
 * Kills what is in a cgroup, and removes it.
 *
 * @param to.empty - what to do where the kernel cannot kill what is in it
 * @param to.most - how many {@link attempts} in a row may be in vain
 * @param to.next - where to go on, in any case
 */
export function removeCgroup(
  asm: Assembler,
  path: Slot,
  { empty, most, next }: { readonly empty: EmptyCgroup | undefined; readonly most: Slot; readonly next: Label },
): void {
  const [root, removed, left] = [asm.slot(), asm.slot(), asm.slot()];
  const again = new Label();
  asm.set(left, most);
  allowTime(asm);
  asm.place(again);
  openDirectory(asm, AT_FDCWD, path, { into: root, otherwise: next });
  // Whoever survives: in a pid namespace of others there is no init whose end would be his.
  writeLeniently(asm, root, 'cgroup.kill', '1');
  removeBelow(asm, root, { empty, patience: { most, left }, gaveUp: next });
  asm.call('unlinkat', [AT_FDCWD, path, AT_REMOVEDIR], { store: removed, tolerate: 'any' });
  asm.jumpIfUnequal(removed, -ERRNO.EBUSY, next);
  attemptAgain(asm, left, next);
  asm.jump(again);
}

function attemptAgain(asm: Assembler, left: Slot, gaveUp: Label): void {
  asm.jumpIfEqual(left, 0, gaveUp);
  asm.add(left, left, -1);
  pause(asm);
}

/** Removes a directory with the files in it. Others go on at the same time, or have been there before. */
export function removeFlatDirectory(asm: Assembler, path: Slot, next: Label): void {
  const directory = asm.slot();
  const emptied = new Label();
  openDirectory(asm, AT_FDCWD, path, { into: directory, otherwise: next });
  forEachEntry(asm, directory, { done: emptied, failed: emptied }, ({ name }) =>
    asm.call('unlinkat', [directory, name, 0], { tolerate: 'any' }),
  );
  asm.place(emptied);
  asm.call('close', [directory]);
  asm.call('unlinkat', [AT_FDCWD, path, AT_REMOVEDIR], { tolerate: 'any' });
  asm.jump(next);
}

/** Does something with one path after the other, which goes on at `next`: a loop, because on v1 there are many. */
function forEachPath(asm: Assembler, paths: readonly string[], act: (path: Slot, next: Label) => void): void {
  const [path, place] = [asm.slot(), asm.slot()];
  const [next, done] = [new Label(), new Label()];
  asm.set(place, asm.words([...paths.map((each) => asm.string(each)), 0]));
  asm.place(next);
  asm.copy(path.address, place, 8);
  asm.jumpIfEqual(path, 0, done);
  asm.add(place, place, 8);
  act(path, next);
  asm.place(done);
}

/**
 * Removes the cgroups in an open one, and closes it. The deepest go first: down into the first directory there is until
 * one has none, up to its parent by "..", which removes it, and there it begins anew. So two descriptors and one name are
 * enough, however deep and however many a container made them and whatever it called them.
 *
 * A cgroup counts the processes of an ended container for some milliseconds more, and is busy meanwhile.
 *
 * @param to.empty - what to do to one without children, again until it can be removed
 * @param to.gaveUp - where to go on when something cannot be removed by waiting
 */
function removeBelow(
  asm: Assembler,
  directory: Slot,
  to: { readonly empty: EmptyCgroup | undefined; readonly patience: Patience; readonly gaveUp: Label },
): void {
  const [parent, depth, isNamed] = [asm.slot(), asm.slot(), asm.slot()];
  const name = asm.bytes(NAME_SIZE);
  const [down, bottom, refused, finished] = [new Label(), new Label(), new Label(), new Label()];
  asm.set(depth, 0);
  asm.place(down);
  // The one that was entered is `directory` now, the one that has it was closed.
  enterFirstChild(asm, { directory, name, none: bottom, failed: refused });
  asm.add(depth, depth, 1);
  asm.set(isNamed, 1);
  asm.jump(down);

  asm.place(bottom);
  to.empty?.(asm, directory);
  asm.jumpIfEqual(depth, 0, finished);
  openDirectory(asm, directory, asm.string('..'), { into: parent, otherwise: refused });
  asm.call('close', [directory]);
  asm.set(directory, parent);
  asm.add(depth, depth, -1);
  // Come up to, not down to: what it is called its parent will say.
  asm.jumpIfEqual(isNamed, 0, down);
  asm.set(isNamed, 0);
  removeChild(asm, directory, name, { patience: to.patience, done: down, refused });

  asm.place(refused);
  asm.call('close', [directory]);
  asm.jump(to.gaveUp);
  asm.place(finished);
  asm.call('close', [directory]);
}

/** How many {@link attempts} may be in vain, and how many still. */
interface Patience {
  readonly most: Slot;
  readonly left: Slot;
}

function removeChild(
  asm: Assembler,
  directory: Slot,
  name: number,
  to: { readonly patience: Patience; readonly done: Label; readonly refused: Label },
): void {
  const result = asm.slot();
  const [removed, busy] = [new Label(), new Label()];
  asm.call('unlinkat', [directory, name, AT_REMOVEDIR], { store: result, tolerate: 'any' });
  asm.jumpIfEqual(result, 0, removed);
  asm.jumpIfEqual(result, -ERRNO.EBUSY, busy);
  // Somebody else may be at it, too.
  asm.jumpIfEqual(result, -ERRNO.ENOENT, to.done);
  asm.jump(to.refused);
  asm.place(busy);
  attemptAgain(asm, to.patience.left, to.refused);
  asm.jump(to.done);
  asm.place(removed);
  asm.set(to.patience.left, to.patience.most);
  allowTime(asm);
  asm.jump(to.done);
}

/** Reads an open directory until there is a directory in it, opens that in its place, and keeps its name. */
function enterFirstChild(
  asm: Assembler,
  { directory, name, none, failed }: { directory: Slot; name: number; none: Label; failed: Label },
): void {
  const child = asm.slot();
  const entered = new Label();
  forEachEntry(asm, directory, { done: none, failed }, (entry, next) => {
    asm.jumpIfUnequal(entry.type, S.IFDIR >> 12, next);
    openDirectory(asm, directory, entry.name, { into: child, otherwise: next });
    asm.copy(name, entry.name, NAME_SIZE);
    asm.call('close', [directory]);
    asm.set(directory, child);
    asm.jump(entered);
  });
  asm.place(entered);
}

/** Does something with what is in an open directory, one entry after the other. */
function forEachEntry(
  asm: Assembler,
  directory: Slot,
  { done, failed }: { readonly done: Label; readonly failed: Label },
  act: (entry: { readonly name: number; readonly type: Slot }, next: Label) => void,
): void {
  const buffer = asm.bytes(BUFFER_SIZE + DIRENT_SIZE);
  const entry = asm.bytes(DIRENT_SIZE);
  const [length, cursor, end] = [asm.slot(), asm.slot(), asm.slot()];
  const [entryLength, type, start] = [asm.slot(), asm.slot(), asm.slot()];
  const [read, look] = [new Label(), new Label()];
  asm.place(read);
  asm.call('getdents64', [directory, buffer, BUFFER_SIZE], { store: length, tolerate: 'any', otherwise: failed });
  asm.jumpIfEqual(length, 0, done);
  asm.set(cursor, buffer);
  asm.add(end, buffer, length);
  asm.place(look);
  asm.jumpIfEqual(cursor, end, read);
  asm.copy(entry, cursor, DIRENT_SIZE);
  asm.copy(entryLength.address, entry + DIRENT.length, 2);
  asm.copy(type.address, entry + DIRENT.type, 1);
  asm.copy(start.address, entry + DIRENT.name, 3);
  asm.add(cursor, cursor, entryLength);
  asm.jumpIfEqual(start, DOT, look, 0xffff);
  asm.jumpIfEqual(start, DOT_DOT, look, 0xffffff);
  act({ name: entry + DIRENT.name, type }, look);
  asm.jump(look);
}

/** NAME_MAX and the NUL. */
const NAME_SIZE = 256;
/** struct linux_dirent64: getdents64(2). */
const DIRENT = { length: 16, type: 18, name: 19 } as const;
const DIRENT_SIZE = DIRENT.name + NAME_SIZE;
/** Room for one entry at least. More would be sent with every program, and is needed by few. */
const BUFFER_SIZE = 512;
/** "." and ".." with their NULs, as numbers. */
const DOT = 0x2e;
const DOT_DOT = 0x2e2e;
