import { AT_EMPTY_PATH, AT_RECURSIVE, MOUNT_ATTR, MS } from '@ns/libc';
import type { Lowering } from '../lowering.ts';
import type { Operand } from '../program.ts';

/** A mount's attributes: bits of MOUNT_ATTR_* by name. */
export type MountAttribute =
  | 'ro'
  | 'nosuid'
  | 'nodev'
  | 'noexec'
  | 'noatime'
  | 'strictatime'
  | 'nodiratime'
  | 'nosymfollow';

/** How mount and unmount events travel. */
export type Propagation =
  | 'private'
  | 'rprivate'
  | 'slave'
  | 'rslave'
  | 'shared'
  | 'rshared'
  | 'unbindable'
  | 'runbindable';

const attributeBits: Readonly<Record<MountAttribute, number>> = {
  ro: MOUNT_ATTR.RDONLY,
  nosuid: MOUNT_ATTR.NOSUID,
  nodev: MOUNT_ATTR.NODEV,
  noexec: MOUNT_ATTR.NOEXEC,
  noatime: MOUNT_ATTR.NOATIME,
  strictatime: MOUNT_ATTR.STRICTATIME,
  nodiratime: MOUNT_ATTR.NODIRATIME,
  nosymfollow: MOUNT_ATTR.NOSYMFOLLOW,
};

export const propagationFlags: Readonly<Record<Propagation, number>> = {
  private: MS.PRIVATE,
  rprivate: MS.PRIVATE | MS.REC,
  slave: MS.SLAVE,
  rslave: MS.SLAVE | MS.REC,
  shared: MS.SHARED,
  rshared: MS.SHARED | MS.REC,
  unbindable: MS.UNBINDABLE,
  runbindable: MS.UNBINDABLE | MS.REC,
};

/** Their bits together. */
export function bits(attributes: readonly MountAttribute[]): number {
  return attributes.reduce((all, name) => all | attributeBits[name], 0);
}

/** mount_setattr of a detached mount, all at once. */
export function setAttributes(
  { asm }: Lowering,
  mount: Operand,
  set: number,
  recursive: boolean,
  propagation = 0,
): void {
  // Setting any atime mode means clearing the field first (mount_setattr(2)).
  const clear = set & MOUNT_ATTR._ATIME ? MOUNT_ATTR._ATIME : 0;
  asm.call('mount_setattr', [
    mount,
    asm.string(''),
    AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0),
    asm.words([set, clear, propagation, 0]),
    32,
  ]);
}
