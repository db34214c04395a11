import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  MNT_DETACH,
  MOUNT_ATTR,
  MOVE_MOUNT,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from '@ns/libc';
import type { Lowerings } from '../lowering.ts';
import type { Operand } from '../program.ts';
import { sendRecord } from '../send-record.ts';
import { attach } from './attach.ts';
import { bits, type MountAttribute, setAttributes } from './mount-attributes.ts';
import { newMount } from './new-mount.ts';

/** Steps around the root mount: what it stands on, what it is, and that it becomes "/". */
export type RootStep =
  /**
   * A tmpfs for upper layers and empty directories. It is mounted over "/", which path lookups do not see: they start
   * below it. `reuse` names a descriptor of the scratch of an earlier start; `handOver` gives the caller one, by which
   * upper layers can be read and used again after the container has ended.
   */
  | {
      readonly op: 'mountScratch';
      readonly options: Readonly<Record<string, string>>;
      readonly reuse?: string;
      readonly handOver?: boolean;
    }
  /** An existing directory as the root; or a detached mount of it, which the caller made and gave these attributes. */
  | {
      readonly op: 'bindRoot';
      readonly source: string;
      readonly attributes: readonly MountAttribute[];
      readonly mount?: string;
    }
  /** The root mount itself becomes read-only. */
  | { readonly op: 'readonlyRoot' }
  /** The root becomes "/", the old root is gone. */
  | { readonly op: 'pivotRoot' }
  /**
   * The root becomes `/tmp/root`, in a tmpfs that hides the host's /tmp from this mount namespace; `/tmp/empty` is the empty
   * directory that masks are made of. /proc is that of this pid namespace. For CRIU, which makes its own mounts below /tmp.
   */
  | { readonly op: 'stageRoot' };

export const rootLowerings: Lowerings<RootStep> = {
  mountScratch({ options, reuse, handOver }, to) {
    const { asm } = to;
    const scratch = to.handle('scratch');
    if (reuse) asm.copy(scratch.address, asm.words([to.fd(reuse)]), 8);
    else newMount(to, 'tmpfs', options, MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV, scratch);
    asm.call('move_mount', [scratch, asm.string(''), AT_FDCWD, asm.string('/'), MOVE_MOUNT.F_EMPTY_PATH]);
    // Paths of layers in the scratch are given relative to it from here on.
    asm.call('fchdir', [scratch]);
    if (!handOver) return;
    // A detached copy of the mount: the one attached here goes away with the mount namespace.
    const copy = asm.slot();
    asm.call('open_tree', [scratch, asm.string(''), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH], {
      store: copy,
    });
    sendRecord(to, { kind: 'scratch' }, copy);
    asm.call('close', [copy]);
  },

  bindRoot({ source, attributes, mount }, to) {
    const { asm } = to;
    const root = to.handle('root');
    if (mount !== undefined) {
      asm.copy(root.address, asm.words([to.fd(mount)]), 8);
      attach(to, root, '/');
      return;
    }
    asm.call('open_tree', [AT_FDCWD, asm.string(source), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE], {
      store: root,
    });
    if (attributes.length > 0) setAttributes(to, root, bits(attributes), true);
    attach(to, root, '/');
  },

  readonlyRoot(_, to) {
    setAttributes(to, to.handle('root'), MOUNT_ATTR.RDONLY, false);
  },

  pivotRoot(_, to) {
    const { asm } = to;
    const dot = asm.string('.');
    asm.call('fchdir', [to.handle('root')]);
    // Every unmount waits for all CPUs (synchronize_rcu_expedited). Below the old root the scratch goes away with it; the
    // stage came from /proc/self/fd, so /proc is there.
    asm.call('move_mount', [
      to.handle('scratch'),
      asm.string(''),
      AT_FDCWD,
      asm.string('/proc'),
      MOVE_MOUNT.F_EMPTY_PATH,
    ]);
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one, where an unmount finds it.
    asm.call('pivot_root', [dot, dot]);
    asm.call('umount2', [dot, MNT_DETACH]);
    asm.call('chdir', [asm.string('/')]);
  },

  stageRoot(_, to) {
    const { asm } = to;
    const [temporary, proc, empty] = [asm.slot(), asm.slot(), asm.slot()];
    const place = (mount: Operand, path: string) =>
      asm.call('move_mount', [mount, asm.string(''), AT_FDCWD, asm.string(path), MOVE_MOUNT.F_EMPTY_PATH]);
    newMount(to, 'tmpfs', { mode: '700' }, MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV, temporary);
    place(temporary, '/tmp');
    for (const name of ['root', 'empty', 'scratch']) asm.call('mkdirat', [temporary, asm.string(name), 0o755]);
    place(to.handle('root'), '/tmp/root');
    // Over "/" it would be what CRIU unmounts there when it leaves.
    place(to.handle('scratch'), '/tmp/scratch');
    asm.call('open_tree', [temporary, asm.string('empty'), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC], { store: empty });
    setAttributes(to, empty, MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC, false);
    place(empty, '/tmp/empty');
    newMount(to, 'proc', {}, MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC, proc);
    place(proc, '/proc');
  },
};
