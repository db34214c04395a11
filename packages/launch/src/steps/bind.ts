import { AT_FDCWD, AT_RECURSIVE, MS, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE } from '@ns/libc';
import type { Lowerings } from '../lowering.ts';
import { Label, type Operand } from '../program.ts';
import { attachTo, IN_ROOT, resolveTarget } from './attach.ts';
import { bits, type MountAttribute, type Propagation, propagationFlags, setAttributes } from './mount-attributes.ts';

/** The step that shows a file or directory of the host. */
export type BindStep =
  /** A file or directory of the host inside the root. */
  {
    readonly op: 'bind';
    /** Path on the host, the name of a descriptor of a detached mount, or that of one which an earlier step made. */
    readonly source: string | { readonly fd: string } | { readonly handle: string };
    readonly target: string;
    readonly type: 'file' | 'directory';
    readonly attributes: readonly MountAttribute[];
    readonly recursive: boolean;
    readonly propagation?: Propagation;
    /** Leave it out when the source is not there. */
    readonly optional?: boolean;
  };

export const bindLowerings: Lowerings<BindStep> = {
  bind({ source, target, type, attributes, recursive, propagation, optional }, to) {
    const { asm } = to;
    const skip = new Label();
    let mount: Operand;
    if (typeof source === 'string') {
      mount = asm.slot();
      asm.call(
        'open_tree',
        [AT_FDCWD, asm.string(source), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0)],
        { store: mount, ...(optional && { tolerate: ['ENOENT'], otherwise: skip }) },
      );
    } else {
      mount = 'fd' in source ? to.fd(source.fd) : to.handle(source.handle);
    }
    // Attributes first, place second: there is no moment at which the mount is there and writable.
    setAttributes(
      to,
      mount,
      bits(attributes),
      recursive,
      propagation ? propagationFlags[propagation] & ~MS.REC : MS.PRIVATE,
    );
    const place = resolveTarget(to, target, type, IN_ROOT);
    attachTo(to, mount, place);
    asm.place(skip);
  },
};
