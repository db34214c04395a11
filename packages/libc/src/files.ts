import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, O } from './constants.ts';
import { ERRNO } from './errno.ts';
import { check, SpecError } from './errors.ts';
import { decodeFileName, writeFileName } from './file-names.ts';
import { syscall } from './libc.ts';
import { allocate } from './memory.ts';
import { openBriefly } from './spare-descriptors.ts';
import { SYS } from './syscalls.ts';
import { bindToThread } from './thread-fd.ts';

/* Calls on names below a directory descriptor, made for walking trees of tens of thousands of files: they allocate
   nothing but their result. Names are text as in file-names.ts. Those documented to return a "result" return what the
   kernel returns, or a negated errno, because a walker expects some errors; wrap with check() where none is expected. */

// One scratch area per thread: the calls are synchronous and the kernel keeps no address.
const PATH_MAX = 4096;
const names = [allocate(PATH_MAX), allocate(PATH_MAX)] as const;
const record = allocate(256);
const words = new Uint32Array(record.bytes.buffer, 0, 64);
const quads = new BigUint64Array(record.bytes.buffer, 0, 32);
const text = allocate(PATH_MAX);
const times = allocate(32);

/** Puts a name where the kernel can read it. Slot 1 is for calls that take two names. */
function place(name: string, slot: 0 | 1 = 0): number {
  const { bytes, address } = names[slot];
  // Longer than any path the kernel takes; cut so that it answers ENAMETOOLONG itself.
  const length = writeFileName(name, bytes, 0, PATH_MAX);
  if (length < 0) throw new SpecError('path', 'a name without NUL bytes', name);
  if (length < PATH_MAX) bytes[length] = 0;
  return address;
}

/** What statx(2) says of a file. */
export interface Stat {
  /** Type and permissions, `S.IFMT` selects the type. */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly ino: bigint;
  readonly size: number;
  /** In units of 512 bytes. */
  readonly blocks: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly ctimeSec: number;
  readonly ctimeNsec: number;
  readonly atimeSec: number;
  readonly atimeNsec: number;
  /** Numbers of a device node. */
  readonly rdevMajor: number;
  readonly rdevMinor: number;
  /** The file system it is on. */
  readonly devMajor: number;
  readonly devMinor: number;
  /** `mnt_id` of mountinfo, 0 before Linux 5.8. */
  readonly mountId: number;
}

// STATX_BASIC_STATS | STATX_MNT_ID
const STATX_WANTED = 0x7ff | 0x1000;

const pair = (low: number): number => words[low]! + words[low + 1]! * 2 ** 32;
const signedPair = (low: number): number => words[low]! + (words[low + 1]! | 0) * 2 ** 32;

/**
 * statx(2), since 4.11, of `name` below `dirFd`, or of the descriptor itself for an empty name. Never follows a final link.
 *
 * @returns `undefined` when there is no such file (ENOENT, ENOTDIR)
 */
export function statAt(dirFd: number, name: string): Stat | undefined {
  const result = syscall(
    SYS.statx,
    dirFd,
    place(name),
    AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH,
    STATX_WANTED,
    record.address,
  );
  if (result === -ERRNO.ENOENT || result === -ERRNO.ENOTDIR) return undefined;
  check('statx', result, { path: name });
  return {
    nlink: words[4]!,
    uid: words[5]!,
    gid: words[6]!,
    mode: words[7]! & 0xffff,
    ino: quads[4]!,
    size: pair(10),
    blocks: pair(12),
    atimeSec: signedPair(16),
    atimeNsec: words[18]!,
    ctimeSec: signedPair(24),
    ctimeNsec: words[26]!,
    mtimeSec: signedPair(28),
    mtimeNsec: words[30]!,
    rdevMajor: words[32]!,
    rdevMinor: words[33]!,
    devMajor: words[34]!,
    devMinor: words[35]!,
    mountId: pair(36),
  };
}

/** statx(2) of an open descriptor, O_PATH ones included. */
export function statFd(fd: number): Stat {
  return statAt(fd, '')!;
}

/** openat(2), close-on-exec. Result: a descriptor the caller closes, or a negated errno. */
export function openAt(dirFd: number, name: string, flags: number, mode = 0): number {
  return syscall(SYS.openat, dirFd, place(name), flags | O.CLOEXEC, mode);
}

/** close(2) of a number from {@link openAt}. */
export function closeFd(fd: number): void {
  syscall(SYS.close, fd);
}

/**
 * openat(2) as {@link openAt}, but in a worker thread the descriptor is closed with the thread, however that ends: for what is
 * open for longer than a call. It is opened also when this process has used up its descriptors, and so is to be closed soon, by
 * {@link closeBound}.
 */
export function openBound(dirFd: number, name: string, flags: number): number {
  const fd = openBriefly(() => openAt(dirFd, name, flags));
  return fd < 0 ? fd : bindToThread(fd);
}

/** mkdirat(2). Result. */
export function mkdirAt(dirFd: number, name: string, mode: number): number {
  return syscall(SYS.mkdirat, dirFd, place(name), mode);
}

/** mknodat(2). `mode` carries the type. Result. */
export function mknodAt(dirFd: number, name: string, mode: number, major = 0, minor = 0): number {
  // The kernel's new_encode_dev().
  const device = (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12);
  return syscall(SYS.mknodat, dirFd, place(name), mode, device >>> 0);
}

/** symlinkat(2). Result. */
export function symlinkAt(target: string, dirFd: number, name: string): number {
  return syscall(SYS.symlinkat, place(target, 1), dirFd, place(name));
}

/** linkat(2): a second name for a file. With an empty `from`, the file is the descriptor itself (AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH). Result. */
export function linkAt(fromDirFd: number, from: string, toDirFd: number, to: string): number {
  return syscall(SYS.linkat, fromDirFd, place(from), toDirFd, place(to, 1), from === '' ? AT_EMPTY_PATH : 0);
}

/** unlinkat(2); `flags` AT_REMOVEDIR for a directory. Result. */
export function unlinkAt(dirFd: number, name: string, flags = 0): number {
  return syscall(SYS.unlinkat, dirFd, place(name), flags);
}

/** RENAME_* of renameat2(2) */
export const RENAME = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 } as const;

/** renameat2(2), since 3.15. Result. */
export function renameAt(fromDirFd: number, from: string, toDirFd: number, to: string, flags = 0): number {
  return syscall(SYS.renameat2, fromDirFd, place(from), toDirFd, place(to, 1), flags);
}

/** readlinkat(2), of the descriptor itself for an empty name. `undefined` when it is no link or does not exist. */
export function readlinkAt(dirFd: number, name: string): string | undefined {
  const length = syscall(SYS.readlinkat, dirFd, place(name), text.address, PATH_MAX);
  if (length === -ERRNO.EINVAL || length === -ERRNO.ENOENT || length === -ERRNO.ENOTDIR) return undefined;
  check('readlinkat', length, { path: name });
  return decodeFileName(text.bytes.subarray(0, length));
}

/** fchownat(2), never following a link. Result. */
export function chownAt(dirFd: number, name: string, uid: number, gid: number): number {
  return syscall(SYS.fchownat, dirFd, place(name), uid, gid, AT_SYMLINK_NOFOLLOW | (name === '' ? AT_EMPTY_PATH : 0));
}

/** fchown(2) of an open descriptor (not an O_PATH one). Result. */
export function chownFd(fd: number, uid: number, gid: number): number {
  return syscall(SYS.fchown, fd, uid, gid);
}

/** fchmod(2) of an open descriptor (not an O_PATH one). Result. */
export function chmodFd(fd: number, mode: number): number {
  return syscall(SYS.fchmod, fd, mode);
}

/**
 * Permissions of a name, or of the descriptor itself for an empty one, never following a link: fchmodat2(2), since 6.6.
 * Before, fchmodat(2) through /proc/self/fd of an O_PATH descriptor, which cannot be redirected either. Result.
 */
export function chmodAt(dirFd: number, name: string, mode: number): number {
  if (name === '') return chmodFd(dirFd, mode);
  const result = syscall(SYS.fchmodat2, dirFd, place(name), mode, AT_SYMLINK_NOFOLLOW);
  if (result !== -ERRNO.ENOSYS) return result;
  const fd = openAt(dirFd, name, O.PATH | O.NOFOLLOW);
  if (fd < 0) return fd;
  const viaProc = syscall(SYS.fchmodat, AT_FDCWD, place(`/proc/self/fd/${fd}`), mode);
  closeFd(fd);
  return viaProc;
}

const timeWords = new Int32Array(times.bytes.buffer, times.bytes.byteOffset, 8);

/** In halves: a BigInt for each would cost as much as the call. */
function putInt64(index: number, value: number): void {
  timeWords[2 * index] = value;
  timeWords[2 * index + 1] = Math.floor(value / 2 ** 32);
}

/** utimensat(2) with nanoseconds, never following a link; of the descriptor itself (not an O_PATH one) for an empty name. Result. */
export function utimesAt(
  dirFd: number,
  name: string,
  time: Pick<Stat, 'atimeSec' | 'atimeNsec' | 'mtimeSec' | 'mtimeNsec'>,
): number {
  putInt64(0, time.atimeSec);
  putInt64(1, time.atimeNsec);
  putInt64(2, time.mtimeSec);
  putInt64(3, time.mtimeNsec);
  return syscall(
    SYS.utimensat,
    dirFd,
    // Without a name it is futimens(3), which is a third faster.
    name === '' ? 0 : place(name),
    times.address,
    name === '' ? 0 : AT_SYMLINK_NOFOLLOW,
  );
}
