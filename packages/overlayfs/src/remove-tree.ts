import { randomBytes } from 'node:crypto';
import { AT_REMOVEDIR, check, closeBound, ERRNO, type OwnedFd, readDirectory, renameAt, unlinkAt } from '@ns/libc';
import { enterChildDirectory } from './directory-place.ts';
import type { Steps } from './time-slices.ts';

/* Removing a tree that somebody hostile made: no link is followed, because each directory is opened by one name below its
   parent's descriptor; and no depth exhausts descriptors, because directories too deep are first moved up. */

const MAX_DEPTH = 128;

interface Level {
  readonly fd: number;
  readonly name: string;
  readonly names: string[];
}

/** Removes `name` below `dirFd` with all below it; nothing when it is not there. One step per file. */
export function* removeTree(dirFd: number, name: string): Steps<never> {
  const removed = unlinkAt(dirFd, name);
  if (removed === 0 || removed === -ERRNO.ENOENT) return;
  if (removed !== -ERRNO.EISDIR) check('unlinkat', removed, { path: name });
  yield* emptyBelow(dirFd, name);
  const gone = unlinkAt(dirFd, name, AT_REMOVEDIR);
  if (gone !== -ERRNO.ENOENT) check('unlinkat', gone, { path: name });
}

/** Removes everything in a directory, not the directory. */
export function* emptyDirectory(directory: OwnedFd): Steps<never> {
  yield* emptyBelow(directory.fd, '.');
}

function* emptyBelow(dirFd: number, name: string): Steps<never> {
  const top = openLevel(dirFd, name);
  if (!top) return;
  const stack = [top];
  try {
    for (let level = stack.at(-1); level; level = stack.at(-1)) {
      const next = level.names.pop();
      if (next === undefined) {
        closeBound(level.fd);
        stack.pop();
        const parent = stack.at(-1);
        if (parent) check('unlinkat', ignoring(unlinkAt(parent.fd, level.name, AT_REMOVEDIR)), { path: level.name });
        continue;
      }
      yield undefined;
      const result = unlinkAt(level.fd, next);
      if (result === 0 || result === -ERRNO.ENOENT) continue;
      if (result !== -ERRNO.EISDIR) check('unlinkat', result, { path: next });
      if (stack.length >= MAX_DEPTH) {
        // A name that nobody can have taken: on a file or a full directory there the rename would fail.
        const up = `.ns-removing-${randomBytes(16).toString('hex')}`;
        check('renameat2', renameAt(level.fd, next, top.fd, up), { path: next });
        top.names.push(up);
        continue;
      }
      const below = openLevel(level.fd, next);
      if (below) stack.push(below);
    }
  } finally {
    for (const { fd } of stack) closeBound(fd);
  }
}

const ignoring = (result: number): number => (result === -ERRNO.ENOENT ? 0 : result);

function openLevel(dirFd: number, name: string): Level | undefined {
  const fd = enterChildDirectory(dirFd, name);
  if (fd === -ERRNO.ENOENT) return undefined;
  check('openat', fd, { path: name });
  const names = readDirectory(fd).map((entry) => entry.name);
  return { fd, name, names };
}

/** The same at once, for few files. */
export function removeTreeNow(dirFd: number, name: string): void {
  for (const _ of removeTree(dirFd, name));
}
