import { MOUNT_ATTR, MS, SpecError } from '@ns/libc';

/** What one option string of the OCI runtime specification does. Bits are named as in mount(2) and mount_setattr(2). */
export interface MountOptionEffect {
  /** MS_* bits it sets for mount(2). */
  readonly set?: number;
  /** MS_* bits it takes back; they matter for a remount, which otherwise keeps them. */
  readonly clear?: number;
  /** MOUNT_ATTR_* bits for mount_setattr(2) on the mount itself. */
  readonly attrSet?: number;
  readonly attrClear?: number;
  /** The same for the mount and everything mounted below it (AT_RECURSIVE, since 5.12). */
  readonly recursiveSet?: number;
  readonly recursiveClear?: number;
  /** One propagation type, with MS_REC for the recursive forms; needs a mount(2) call of its own. */
  readonly propagation?: number;
  /** Flag of the file system, not of the mount: what fsconfig(FSCONFIG_SET_FLAG) takes. */
  readonly superblock?: string;
  /** Not the kernel's: done by the runtime. */
  readonly extension?: 'tmpcopyup' | 'idmap' | 'ridmap';
}

const ATIME = MS.NOATIME | MS.RELATIME | MS.STRICTATIME;
const { _ATIME } = MOUNT_ATTR;

// In mount_setattr(2) the three access time policies are one field: it is cleared whole, then set (relatime is 0).
const on = (flag: number, attr: number): MountOptionEffect => ({ set: flag, attrSet: attr });
const off = (flag: number, attr: number): MountOptionEffect => ({ clear: flag, attrClear: attr });
const atime = (flag: number, attr: number): MountOptionEffect => ({
  set: flag,
  clear: ATIME & ~flag,
  attrSet: attr,
  attrClear: _ATIME,
});
const recursiveOn = (attr: number): MountOptionEffect => ({ recursiveSet: attr });
const recursiveOff = (attr: number): MountOptionEffect => ({ recursiveClear: attr });
const recursiveAtime = (attr: number): MountOptionEffect => ({ recursiveSet: attr, recursiveClear: _ATIME });

/** Every mount option the OCI runtime specification (1.2, "Linux mount options") names. All others are data for the file system. */
export const mountOptionTable: Readonly<Record<string, MountOptionEffect>> = Object.freeze({
  defaults: {},

  ro: on(MS.RDONLY, MOUNT_ATTR.RDONLY),
  rw: off(MS.RDONLY, MOUNT_ATTR.RDONLY),
  nosuid: on(MS.NOSUID, MOUNT_ATTR.NOSUID),
  suid: off(MS.NOSUID, MOUNT_ATTR.NOSUID),
  nodev: on(MS.NODEV, MOUNT_ATTR.NODEV),
  dev: off(MS.NODEV, MOUNT_ATTR.NODEV),
  noexec: on(MS.NOEXEC, MOUNT_ATTR.NOEXEC),
  exec: off(MS.NOEXEC, MOUNT_ATTR.NOEXEC),
  nodiratime: on(MS.NODIRATIME, MOUNT_ATTR.NODIRATIME),
  diratime: off(MS.NODIRATIME, MOUNT_ATTR.NODIRATIME),
  nosymfollow: on(MS.NOSYMFOLLOW, MOUNT_ATTR.NOSYMFOLLOW),
  symfollow: off(MS.NOSYMFOLLOW, MOUNT_ATTR.NOSYMFOLLOW),

  noatime: atime(MS.NOATIME, MOUNT_ATTR.NOATIME),
  relatime: atime(MS.RELATIME, MOUNT_ATTR.RELATIME),
  strictatime: atime(MS.STRICTATIME, MOUNT_ATTR.STRICTATIME),
  // Taking a policy back means the kernel's default, relatime.
  atime: { clear: MS.NOATIME, attrSet: MOUNT_ATTR.RELATIME, attrClear: _ATIME },
  nostrictatime: { clear: MS.STRICTATIME, attrSet: MOUNT_ATTR.RELATIME, attrClear: _ATIME },
  norelatime: { clear: MS.RELATIME },

  sync: { set: MS.SYNCHRONOUS, superblock: 'sync' },
  async: { clear: MS.SYNCHRONOUS, superblock: 'async' },
  dirsync: { set: MS.DIRSYNC, superblock: 'dirsync' },
  lazytime: { set: MS.LAZYTIME, superblock: 'lazytime' },
  nolazytime: { clear: MS.LAZYTIME, superblock: 'nolazytime' },
  mand: { set: MS.MANDLOCK, superblock: 'mand' },
  nomand: { clear: MS.MANDLOCK, superblock: 'nomand' },
  iversion: { set: MS.I_VERSION },
  noiversion: { clear: MS.I_VERSION },
  silent: { set: MS.SILENT },
  loud: { clear: MS.SILENT },

  bind: { set: MS.BIND },
  rbind: { set: MS.BIND | MS.REC },
  remount: { set: MS.REMOUNT },

  private: { propagation: MS.PRIVATE },
  rprivate: { propagation: MS.PRIVATE | MS.REC },
  shared: { propagation: MS.SHARED },
  rshared: { propagation: MS.SHARED | MS.REC },
  slave: { propagation: MS.SLAVE },
  rslave: { propagation: MS.SLAVE | MS.REC },
  unbindable: { propagation: MS.UNBINDABLE },
  runbindable: { propagation: MS.UNBINDABLE | MS.REC },

  rro: recursiveOn(MOUNT_ATTR.RDONLY),
  rrw: recursiveOff(MOUNT_ATTR.RDONLY),
  rnosuid: recursiveOn(MOUNT_ATTR.NOSUID),
  rsuid: recursiveOff(MOUNT_ATTR.NOSUID),
  rnodev: recursiveOn(MOUNT_ATTR.NODEV),
  rdev: recursiveOff(MOUNT_ATTR.NODEV),
  rnoexec: recursiveOn(MOUNT_ATTR.NOEXEC),
  rexec: recursiveOff(MOUNT_ATTR.NOEXEC),
  rnodiratime: recursiveOn(MOUNT_ATTR.NODIRATIME),
  rdiratime: recursiveOff(MOUNT_ATTR.NODIRATIME),
  rnosymfollow: recursiveOn(MOUNT_ATTR.NOSYMFOLLOW),
  rsymfollow: recursiveOff(MOUNT_ATTR.NOSYMFOLLOW),
  rnoatime: recursiveAtime(MOUNT_ATTR.NOATIME),
  rrelatime: recursiveAtime(MOUNT_ATTR.RELATIME),
  rstrictatime: recursiveAtime(MOUNT_ATTR.STRICTATIME),
  ratime: recursiveAtime(MOUNT_ATTR.RELATIME),
  rnostrictatime: recursiveAtime(MOUNT_ATTR.RELATIME),
  rnorelatime: {},

  tmpcopyup: { extension: 'tmpcopyup' },
  idmap: { extension: 'idmap' },
  ridmap: { extension: 'ridmap' },
});

/** Bits to set and to clear with mount_setattr(2); `clear` is applied first. */
export interface MountAttributes {
  readonly set: number;
  readonly clear: number;
}

/** A list of option strings, sorted by the call that has to carry each. */
export interface MountOptions {
  /** MS_* for mount(2). */
  readonly flags: number;
  /** MS_* that were explicitly taken back (`rw`, `exec`, …): what a remount must not keep. */
  readonly clearFlags: number;
  /** MOUNT_ATTR_* for fsmount(2) or mount_setattr(2). */
  readonly attributes: MountAttributes;
  /** MOUNT_ATTR_* to apply with AT_RECURSIVE (`rro`, `rnosuid`, …). */
  readonly recursiveAttributes: MountAttributes;
  /** Propagation types in the order given; each is one call. */
  readonly propagation: readonly number[];
  /** Flags for fsconfig(FSCONFIG_SET_FLAG). */
  readonly superblock: readonly string[];
  /** What remains, for the file system: `['size=64m', 'mode=1777']`. */
  readonly data: readonly string[];
  readonly tmpcopyup: boolean;
  /** `ridmap` includes the mounts below. */
  readonly idmap?: 'idmap' | 'ridmap';
}

function apply(bits: MountAttributes, set = 0, clear = 0): MountAttributes {
  return { set: (bits.set & ~clear) | set, clear: (bits.clear & ~(set & ~_ATIME)) | clear };
}

/**
 * Reads mount options as the OCI runtime specification spells them. The last word on a subject counts: `ro,rw` is `rw`.
 *
 * @param options - one option per element; an unknown one is data for the file system
 * @throws SpecError for an element that is not a string, is empty or holds a NUL
 *
 * @example
 * ```ts
 * parseMountOptions(['rbind', 'rro', 'nosuid', 'rslave', 'size=1m']);
 * // { flags: MS_BIND|MS_REC|MS_NOSUID, recursiveAttributes: { set: MOUNT_ATTR_RDONLY }, data: ['size=1m'], … }
 * ```
 */
export function parseMountOptions(options: readonly string[]): MountOptions {
  let flags = 0;
  let clearFlags = 0;
  let attributes: MountAttributes = { set: 0, clear: 0 };
  let recursiveAttributes = attributes;
  let tmpcopyup = false;
  let idmap: 'idmap' | 'ridmap' | undefined;
  const propagation: number[] = [];
  const superblock = new Map<number, string>();
  const data: string[] = [];

  for (const [index, option] of options.entries()) {
    if (typeof option !== 'string' || option === '' || option.includes('\0')) {
      throw new SpecError(`options[${index}]`, 'a mount option', option);
    }
    const effect = Object.hasOwn(mountOptionTable, option) ? mountOptionTable[option]! : undefined;
    if (!effect) {
      data.push(option);
      continue;
    }
    const { set = 0, clear = 0 } = effect;
    flags = (flags & ~clear) | set;
    clearFlags = (clearFlags & ~set) | clear;
    attributes = apply(attributes, effect.attrSet, effect.attrClear);
    recursiveAttributes = apply(recursiveAttributes, effect.recursiveSet, effect.recursiveClear);
    if (effect.propagation !== undefined) propagation.push(effect.propagation);
    // Keyed by the flag it is about, so that `async` replaces `sync`.
    if (effect.superblock !== undefined) superblock.set(set | clear, effect.superblock);
    if (effect.extension === 'tmpcopyup') tmpcopyup = true;
    else if (effect.extension !== undefined) idmap = effect.extension;
  }
  return {
    flags,
    clearFlags,
    attributes,
    recursiveAttributes,
    propagation,
    superblock: [...superblock.values()],
    data,
    tmpcopyup,
    ...(idmap && { idmap }),
  };
}
