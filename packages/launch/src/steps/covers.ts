import {
  AT_EMPTY_PATH,
  AT_RECURSIVE,
  ERRNO,
  MOUNT_ATTR,
  MOVE_MOUNT,
  O,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from '@ns/libc';
import type { Lowering, Lowerings } from '../lowering.ts';
import { Label, type Slot } from '../program.ts';
import { attachTo, IN_ROOT } from './attach.ts';
import { setAttributes } from './mount-attributes.ts';

/** Steps that take paths out of view, or make them read-only. */
export type CoverStep =
  /** Files read as empty, directories are empty and read-only. A path that does not exist is left out. */
  | { readonly op: 'mask'; readonly paths: readonly string[] }
  /** Paths become read-only and keep their other attributes. */
  | { readonly op: 'readonlyPaths'; readonly paths: readonly string[] };

export const coverLowerings: Lowerings<CoverStep> = {
  mask({ paths }, to) {
    const { asm } = to;
    const scratch = to.handle('scratch');
    const empty = asm.slot();
    const nothing = asm.slot();
    // Copies of an attached read-only mount are read-only: one mount_setattr serves all.
    asm.call('mkdirat', [scratch, asm.string('empty'), 0o755], { tolerate: ['EEXIST'] });
    asm.call('open_tree', [scratch, asm.string('empty'), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC], { store: empty });
    setAttributes(to, empty, MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC, false);
    asm.call('move_mount', [empty, asm.string(''), scratch, asm.string('empty'), MOVE_MOUNT.F_EMPTY_PATH]);
    asm.call('openat', [to.handle('dev'), asm.string('null'), O.PATH | O.NOFOLLOW | O.CLOEXEC], { store: nothing });
    const asDirectory = asm.words([O.PATH | O.DIRECTORY | O.CLOEXEC, 0, IN_ROOT]);
    const asFile = asm.words([O.PATH | O.CLOEXEC, 0, IN_ROOT]);
    for (const path of paths) {
      const [place, cover] = [asm.slot(), asm.slot()];
      const [isFile, covered, done] = [new Label(), new Label(), new Label()];
      openTargetIfThere(to, path, asDirectory, { into: place, otherwise: isFile });
      cloneMount(to, empty, cover);
      asm.jump(covered);
      asm.place(isFile);
      asm.jumpIfEqual(place, -ERRNO.ENOENT, done);
      openTargetIfThere(to, path, asFile, { into: place, otherwise: done });
      cloneMount(to, nothing, cover);
      asm.place(covered);
      attachTo(to, cover, place);
      asm.place(done);
    }
  },

  readonlyPaths({ paths }, to) {
    const { asm } = to;
    const how = asm.words([O.PATH | O.CLOEXEC, 0, IN_ROOT]);
    for (const path of paths) {
      const [place, cover, skip] = [asm.slot(), asm.slot(), new Label()];
      openTargetIfThere(to, path, how, { into: place, otherwise: skip });
      cloneMount(to, place, cover, AT_RECURSIVE);
      setAttributes(to, cover, MOUNT_ATTR.RDONLY, true);
      attachTo(to, cover, place);
      asm.place(skip);
    }
  },
};

/** @param how - address of a struct open_how */
function openTargetIfThere(
  to: Lowering,
  path: string,
  how: number,
  { into, otherwise }: { readonly into: Slot; readonly otherwise: Label },
): void {
  const { asm } = to;
  asm.call('openat2', [to.handle('root'), asm.string(path), how, 24], {
    store: into,
    tolerate: ['ENOENT', 'ENOTDIR'],
    otherwise,
  });
}

/** A detached copy of the mount that a descriptor is in, from there on down. */
function cloneMount({ asm }: Lowering, place: Slot, into: Slot, recursive = 0): void {
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | recursive;
  asm.call('open_tree', [place, asm.string(''), flags], { store: into });
}
