import type { Lowerings } from '../lowering.ts';
import { Label } from '../program.ts';
import { attachTo, IN_ROOT, openTarget, PLAIN, resolveTarget } from './attach.ts';
import { detachedFile } from './detached-file.ts';
import { bits, type MountAttribute, type Propagation, propagationFlags } from './mount-attributes.ts';
import { newMount } from './new-mount.ts';

/** Steps that mount file systems of their own, and how mounts travel. */
export type FileSystemStep =
  /** Propagation of the whole tree: what is mounted here must not appear on the host. */
  | { readonly op: 'propagation'; readonly propagation: Propagation }
  /** A file system of its own: proc, sysfs, tmpfs, devpts, mqueue, cgroup2, … */
  | {
      readonly op: 'mount';
      readonly type: string;
      readonly target: string;
      readonly options: Readonly<Record<string, string | true>>;
      readonly attributes: readonly MountAttribute[];
      /** Errors after which the mount is left out. */
      readonly optional?: readonly string[];
      /** Refuse a symbolic link anywhere in the target: for /proc, /sys and /dev. */
      readonly plain?: boolean;
      /** An earlier step made the target: it is not made when it is missing. */
      readonly made?: boolean;
      /** Name under which later steps find the mount's descriptor. */
      readonly handle?: string;
    }
  /** A new file inside the root with given content, in memory: read-only and never swapped, or `writable`. */
  | {
      readonly op: 'file';
      readonly target: string;
      readonly content: string | Uint8Array;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
      readonly writable?: true;
      /** It is left out where there is no such file and none can be made: in a directory that is read-only. */
      readonly optional?: true;
    };

export const fileSystemLowerings: Lowerings<FileSystemStep> = {
  propagation({ propagation }, { asm }) {
    asm.call('mount', [0, asm.string('/'), 0, propagationFlags[propagation], 0]);
  },

  mount({ type, target, options, attributes, optional, plain, made, handle }, to) {
    const { asm } = to;
    const mount = handle ? to.handle(handle) : asm.slot();
    const skip = new Label();
    newMount(to, type, options, bits(attributes), mount, optional && { tolerate: optional, otherwise: skip });
    const place = (made ? openTarget : resolveTarget)(to, target, 'directory', plain ? PLAIN : IN_ROOT);
    attachTo(to, mount, place);
    asm.place(skip);
  },

  file({ target, optional, ...file }, to) {
    const tree = to.asm.slot();
    const skip = new Label();
    const place = resolveTarget(to, target, 'file', IN_ROOT, optional && skip);
    detachedFile(to, file, tree);
    attachTo(to, tree, place);
    to.asm.place(skip);
  },
};
