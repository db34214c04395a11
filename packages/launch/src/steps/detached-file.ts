import { MOUNT_ATTR, MOVE_MOUNT, O, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE } from '@ns/libc';
import type { Lowering } from '../lowering.ts';
import type { Slot } from '../program.ts';
import { newMount } from './new-mount.ts';

/** A file with content. */
export interface FileContent {
  readonly content: string | Uint8Array;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** A mount of one file, on a tmpfs of its own, in `store`. */
export function detachedFile(to: Lowering, { content, mode, uid, gid }: FileContent, store: Slot): void {
  const { asm } = to;
  const [mount, file] = [asm.slot(), asm.slot()];
  const bytes = Buffer.from(content);
  const options = { mode: '0755', size: String(bytes.length + 65536), nr_inodes: '3' };
  // Since 6.4, and not in a user namespace: what may be a secret is not swapped to a disk.
  newMount(to, 'tmpfs', options, MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV, mount, { preferred: ['noswap'] });
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
}
