import { AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, MNT_DETACH, O, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE } from '@ns/libc';
import type { Lowerings } from '../lowering.ts';
import { sendRecord } from '../send-record.ts';
import { attachLayer } from './attach.ts';
import { detachedFile } from './detached-file.ts';

/** Steps about mounts that somebody else made, and namespaces that are there already. */
export type DetachedMountStep =
  /** Put a detached mount into the scratch, where overlays find it as a layer by its name. Before Linux 6.15 they want an attached one. */
  | {
      readonly op: 'attachLayer';
      readonly mount: string;
      readonly name: string;
      /** Where it was taken from. */
      readonly source: string;
      /** Its ids are those of the container. */
      readonly idsMapped?: boolean;
    }
  /** Targets of later steps are resolved in the root of the mount namespace that was entered. */
  | { readonly op: 'openRoot' }
  /** Give the caller a descriptor that an earlier step made, `root` or a mount, as {@link Launched.scratch}. */
  | { readonly op: 'handOver'; readonly handle: string }
  /** A copy of a tree of this mount namespace, by its path or a descriptor (O_PATH), for a bind that follows, here or in another one. */
  | {
      readonly op: 'detachTree';
      readonly source: string | { readonly fd: string };
      readonly recursive: boolean;
      readonly handle: string;
    }
  /** A mount of one file with this content, in memory only, for a bind in another mount namespace that is entered next. */
  | {
      readonly op: 'detachFile';
      readonly handle: string;
      readonly content: string | Uint8Array;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  /**
   * Take a mount out of this mount namespace. It is given as a descriptor (O_PATH) of its root, which no rename can
   * redirect; `proc` is one of a procfs, for there is no umount(2) by descriptor.
   */
  | { readonly op: 'unmount'; readonly mount: string; readonly proc: string };

export const detachedMountLowerings: Lowerings<DetachedMountStep> = {
  attachLayer({ mount, name }, to) {
    attachLayer(to, to.fd(mount), name);
    // Of hundreds of layers the descriptors would be as many as a process may have.
    to.asm.call('close', [to.fd(mount)]);
  },

  openRoot(_, to) {
    const { asm } = to;
    asm.call('openat', [AT_FDCWD, asm.string('/'), O.PATH | O.DIRECTORY | O.CLOEXEC], { store: to.handle('root') });
  },

  handOver({ handle }, to) {
    sendRecord(to, { kind: 'scratch' }, to.handle(handle));
  },

  detachTree({ source, recursive, handle }, to) {
    const { asm } = to;
    const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0);
    const store = to.handle(handle);
    if (typeof source === 'string') asm.call('open_tree', [AT_FDCWD, asm.string(source), flags], { store });
    else asm.call('open_tree', [to.fd(source.fd), asm.string(''), flags | AT_EMPTY_PATH], { store });
  },

  detachFile({ handle, ...file }, to) {
    detachedFile(to, file, to.handle(handle));
  },

  unmount({ mount, proc }, to) {
    const { asm } = to;
    asm.call('fchdir', [to.fd(proc)]);
    asm.call('umount2', [asm.string(`self/fd/${to.fd(mount)}`), MNT_DETACH]);
  },
};
