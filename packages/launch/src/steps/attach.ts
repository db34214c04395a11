import { MOVE_MOUNT, O, RESOLVE, S } from '@ns/libc';
import type { Lowering } from '../lowering.ts';
import { Label, type Operand, type Slot } from '../program.ts';

/** Links in a target lead to somewhere inside the root. */
export const IN_ROOT = RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS;

/** There may be none. */
export const PLAIN = RESOLVE.IN_ROOT | RESOLVE.NO_SYMLINKS;

/** Puts a detached mount in its place: the root into the scratch, everything else inside the root. */
export function attach(to: Lowering, mount: Operand, target: string, type: 'file' | 'directory' = 'directory'): void {
  const { asm } = to;
  if (target === '/') {
    asm.call('mkdirat', [to.handle('scratch'), asm.string('root'), 0o755], { tolerate: ['EEXIST'] });
    asm.call('move_mount', [mount, asm.string(''), to.handle('scratch'), asm.string('root'), MOVE_MOUNT.F_EMPTY_PATH]);
  } else attachTo(to, mount, resolveTarget(to, target, type, IN_ROOT));
}

/** Puts a detached mount into the scratch, where overlays find it as a layer. */
export function attachLayer(to: Lowering, mount: Operand, name: string): void {
  const { asm } = to;
  const scratch = to.handle('scratch');
  asm.call('mkdirat', [scratch, asm.string(name), 0o755], { tolerate: ['EEXIST'] });
  asm.call('move_mount', [mount, asm.string(''), scratch, asm.string(name), MOVE_MOUNT.F_EMPTY_PATH]);
}

/** Puts a detached mount where a descriptor says: nothing that is renamed meanwhile leads it elsewhere. */
export function attachTo({ asm }: Lowering, mount: Operand, place: Operand): void {
  const nowhere = asm.string('');
  asm.call('move_mount', [mount, nowhere, place, nowhere, MOVE_MOUNT.F_EMPTY_PATH | MOVE_MOUNT.T_EMPTY_PATH]);
}

/** A descriptor of a path inside the root that is there. */
export function openTarget(to: Lowering, path: string, type: 'file' | 'directory', resolve: number): Slot {
  const { asm } = to;
  const place = asm.slot();
  asm.call('openat2', [to.handle('root'), asm.string(path), openHow(to, type, resolve), 24], { store: place });
  return place;
}

/** struct open_how for a place to mount on. */
function openHow({ asm }: Lowering, type: 'file' | 'directory', resolve: number): number {
  return asm.words([O.PATH | O.CLOEXEC | (type === 'directory' ? O.DIRECTORY : 0), 0, resolve]);
}

/**
 * A descriptor of a path inside the root. What is missing is made component by component, each resolved from the root
 * again: a symbolic link that a hostile image planted leads to somewhere inside it, or the start fails.
 *
 * @param otherwise - where to go on when a file is missing in a directory that is read-only
 */
export function resolveTarget(
  to: Lowering,
  path: string,
  type: 'file' | 'directory',
  resolve: number,
  otherwise?: Label,
): Slot {
  const { asm } = to;
  const root = to.handle('root');
  const place = asm.slot();
  const [missing, found] = [new Label(), new Label()];
  const how = openHow(to, type, resolve);
  asm.call('openat2', [root, asm.string(path), how, 24], { store: place, tolerate: ['ENOENT'], otherwise: missing });
  asm.jump(found);

  asm.place(missing);
  const directoryHow = openHow(to, 'directory', resolve);
  const parts = path.split('/').filter(Boolean);
  let parent: Slot = root;
  parts.forEach((part, i) => {
    const last = i === parts.length - 1;
    if (last && type === 'file')
      asm.call('mknodat', [parent, asm.string(part), S.IFREG | 0o644, 0], {
        tolerate: otherwise ? ['EEXIST', 'EROFS'] : ['EEXIST'],
      });
    else asm.call('mkdirat', [parent, asm.string(part), 0o755], { tolerate: ['EEXIST'] });
    const next = last ? place : asm.slot();
    asm.call('openat2', [root, asm.string(`/${parts.slice(0, i + 1).join('/')}`), last ? how : directoryHow, 24], {
      store: next,
      ...(last && otherwise && { tolerate: ['ENOENT'], otherwise }),
    });
    parent = next;
  });
  asm.place(found);
  return place;
}
