import { MOUNT_ATTR, MOVE_MOUNT, O, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE } from '@ns/libc';
import type { Lowering } from '../lowering.ts';
import { Label, type Slot } from '../program.ts';
import { setAttributes } from './mount-attributes.ts';
import { newMount } from './new-mount.ts';

/** A file with content. */
export interface FileContent {
  readonly content: string | Uint8Array;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Programs may change it: it may be swapped. Otherwise it may be a secret, and is not. */
  readonly writable?: boolean;
}

const ATTRIBUTES = MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV;

/** A mount of one file, on a file system of its own, in `store`. */
export function detachedFile(
  to: Lowering,
  { content, mode, uid, gid, writable = false }: FileContent,
  store: Slot,
): void {
  const { asm } = to;
  const [mount, file] = [asm.slot(), asm.slot()];
  const bytes = Buffer.from(content);
  const options = { mode: '0755', size: String(bytes.length + 65536), nr_inodes: '3' };
  if (writable) newMount(to, 'tmpfs', options, ATTRIBUTES, mount);
  else newUnswappable(to, options, mount);
  asm.call('openat', [mount, asm.string('file'), O.WRONLY | O.CREAT | O.EXCL | O.CLOEXEC, mode], { store: file });
  // As bytes, which no explanation prints.
  asm.call('write', [file, asm.bytes(bytes), bytes.length]);
  asm.call('fchown', [file, uid, gid]);
  asm.call('fchmod', [file, mode]);
  asm.call('close', [file]);
  // A mount of one file: attach the tmpfs out of sight, take the file's own mount from it.
  asm.call('mkdirat', [to.handle('scratch'), asm.string('files'), 0o700], { tolerate: ['EEXIST'] });
  asm.call('move_mount', [mount, asm.string(''), to.handle('scratch'), asm.string('files'), MOVE_MOUNT.F_EMPTY_PATH]);
  asm.call('open_tree', [mount, asm.string('file'), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC], { store });
  // Nothing bounds what is written to a ramfs.
  if (!writable) setAttributes(to, store, MOUNT_ATTR.RDONLY, false);
}

/** tmpfs with `noswap`, as of Linux 6.4 and not in a user namespace; else ramfs, whose pages are never swapped. */
function newUnswappable(to: Lowering, options: Readonly<Record<string, string>>, store: Slot): void {
  const { asm } = to;
  const [refused, made] = [new Label(), new Label()];
  newMount(to, 'tmpfs', { ...options, noswap: true }, ATTRIBUTES, store, { tolerate: ['EINVAL'], otherwise: refused });
  asm.jump(made);
  asm.place(refused);
  newMount(to, 'ramfs', { mode: '0755' }, ATTRIBUTES, store);
  asm.place(made);
}
