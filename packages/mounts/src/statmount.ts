import { allocate, check, ERRNO, MS, SYS, SyscallError, syscall, UnavailableError } from '@ns/libc';
import type { MountPropagation } from './parse-mountinfo.ts';

/* listmount(2) and statmount(2), since 6.8: one mount without reading the table of all, by an id that is never used again. */

/** What statmount(2) knows of a mount. A field the kernel is too old for is `undefined`. */
export interface MountStatus {
  /** 64 bits, never reused while the machine runs. */
  readonly id: bigint;
  readonly parentId: bigint;
  /** The ids of mountinfo, which are reused. */
  readonly oldId: number;
  readonly oldParentId: number;
  readonly major: number;
  readonly minor: number;
  /** f_type of statfs(2). */
  readonly magic: number;
  /** MOUNT_ATTR_* bits; {@link mountAttributeNames} names them. */
  readonly attributes: number;
  readonly propagation: MountPropagation;
  readonly root: string;
  /** Relative to the caller's root. */
  readonly target: string;
  readonly type: string;
  /** The mount namespace it is in; since 6.11. */
  readonly namespaceId: bigint | undefined;
  /** Since 6.13. */
  readonly source: string | undefined;
  /** Options of the file system, as in mountinfo; since 6.11. */
  readonly superOptions: readonly string[] | undefined;
}

/** <linux/mount.h>: what to return, in the kernel's order. */
const STATMOUNT = {
  SB_BASIC: 0x1,
  MNT_BASIC: 0x2,
  PROPAGATE_FROM: 0x4,
  MNT_ROOT: 0x8,
  MNT_POINT: 0x10,
  FS_TYPE: 0x20,
  MNT_NS_ID: 0x40,
  MNT_OPTS: 0x80,
  FS_SUBTYPE: 0x100,
  SB_SOURCE: 0x200,
} as const;
const WANTED = Object.values(STATMOUNT).reduce((mask, bit) => mask | bit, 0);

/** struct statmount: offsets of the fields used here; strings are offsets into what follows the 512 bytes of the struct. */
const AT = {
  mntOpts: 4,
  mask: 8,
  devMajor: 16,
  devMinor: 20,
  magic: 24,
  fsType: 36,
  id: 40,
  parentId: 48,
  oldId: 56,
  oldParentId: 60,
  attributes: 64,
  propagation: 72,
  peerGroup: 80,
  master: 88,
  propagateFrom: 96,
  root: 104,
  point: 108,
  namespaceId: 112,
  subtype: 120,
  source: 124,
} as const;
const STRUCT_SIZE = 512;

const LSMT_ROOT = 0xffff_ffff_ffff_ffffn;
const REQUEST_SIZE = 24;
const PAGE = 1024;

/** struct mnt_id_req, version 0. */
function request(id: bigint, parameter: bigint): { address: number } {
  const memory = allocate(REQUEST_SIZE);
  memory.bytes.writeUInt32LE(REQUEST_SIZE, 0);
  memory.bytes.writeBigUInt64LE(id, 8);
  memory.bytes.writeBigUInt64LE(parameter, 16);
  return memory;
}

function missing(name: string): UnavailableError {
  return new UnavailableError(`${name}(2)`, 'this kernel does not have it', 'Use Linux 6.8 or later, or readMountinfo');
}

/**
 * listmount(2), since 6.8: ids of all mounts below one, in the order they were made. Needs nothing for mounts one can reach.
 *
 * @param parent - default: the caller's root, which gives all mounts it sees
 * @throws SyscallError ENOENT when it is gone
 * @throws UnavailableError before 6.8
 *
 * @example
 * ```ts
 * const types = listMounts().map((id) => statMount(id).type);
 * ```
 */
export function listMounts(parent: bigint = LSMT_ROOT): bigint[] {
  const ids = allocate(8 * PAGE);
  const all: bigint[] = [];
  for (;;) {
    const last = all.at(-1) ?? 0n;
    const count = syscall(SYS.listmount, request(parent, last).address, ids.address, PAGE, 0);
    if (count === -ERRNO.ENOSYS) throw missing('listmount');
    check('listmount', count);
    for (let at = 0; at < count; at++) all.push(ids.bytes.readBigUInt64LE(8 * at));
    if (count < PAGE) return all;
  }
}

/**
 * statmount(2), since 6.8: everything about one mount.
 *
 * @param id - from {@link listMounts}
 * @throws SyscallError ENOENT when it is gone
 * @throws UnavailableError before 6.8
 */
export function statMount(id: bigint): MountStatus {
  // Strings of one mount may be long (500 layers); EOVERFLOW says they are.
  for (let size = 4096; ; size *= 4) {
    const buffer = allocate(size);
    const result = syscall(SYS.statmount, request(id, BigInt(WANTED)).address, buffer.address, size, 0);
    if (result === -ERRNO.EOVERFLOW && size < 2 ** 24) continue;
    if (result === -ERRNO.ENOSYS) throw missing('statmount');
    if (result < 0) throw new SyscallError('statmount', result, { args: { id } });
    return decode(buffer.bytes);
  }
}

function decode(bytes: Buffer): MountStatus {
  const mask = Number(bytes.readBigUInt64LE(AT.mask));
  const u32 = (at: number): number => bytes.readUInt32LE(at);
  const u64 = (at: number): bigint => bytes.readBigUInt64LE(at);
  const text = (at: number): string => {
    const start = STRUCT_SIZE + u32(at);
    return bytes.toString('utf8', start, bytes.indexOf(0, start));
  };
  const textIf = (bit: number, at: number): string | undefined => (mask & bit ? text(at) : undefined);
  const subtype = textIf(STATMOUNT.FS_SUBTYPE, AT.subtype);
  const group = (key: 'shared' | 'master' | 'propagateFrom', at: number): object =>
    u64(at) === 0n ? {} : { [key]: Number(u64(at)) };
  return {
    id: u64(AT.id),
    parentId: u64(AT.parentId),
    oldId: u32(AT.oldId),
    oldParentId: u32(AT.oldParentId),
    major: u32(AT.devMajor),
    minor: u32(AT.devMinor),
    magic: Number(u64(AT.magic)),
    attributes: Number(u64(AT.attributes)),
    propagation: {
      ...group('shared', AT.peerGroup),
      ...group('master', AT.master),
      ...group('propagateFrom', AT.propagateFrom),
      unbindable: (Number(u64(AT.propagation)) & MS.UNBINDABLE) !== 0,
    },
    root: text(AT.root),
    target: text(AT.point),
    type: subtype ? `${text(AT.fsType)}.${subtype}` : text(AT.fsType),
    namespaceId: mask & STATMOUNT.MNT_NS_ID ? u64(AT.namespaceId) : undefined,
    source: textIf(STATMOUNT.SB_SOURCE, AT.source),
    superOptions: textIf(STATMOUNT.MNT_OPTS, AT.mntOpts)
      ?.split(',')
      .filter((option) => option !== ''),
  };
}
