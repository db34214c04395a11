import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW } from './constants.ts';
import { ERRNO } from './errno.ts';
import { check } from './errors.ts';
import { decodeFileName, writeFileName } from './file-names.ts';
import { syscall } from './libc.ts';
import { allocate } from './memory.ts';
import { SYS } from './syscalls.ts';

/* Extended attributes of a name below a directory descriptor, links themselves included; of the descriptor itself for an
   empty name. The *xattrat(2) calls are since 6.13. Before, and for O_PATH descriptors, the path /proc/self/fd/N/NAME does the same: only
   its last component is looked up in the directory, and it is not followed. */

// XATTR_SIZE_MAX and XATTR_LIST_MAX are both 64 KiB.
const SIZE = 64 * 1024;
const buffer = allocate(SIZE);
const path = allocate(4096 + 64);
const key = allocate(257);
/** struct xattr_args: value, size, flags. */
const args = allocate(16);
const ARGS_SIZE = 16;

function placePath(text: string): number {
  const length = writeFileName(text, path.bytes, 0, path.bytes.length - 1);
  path.bytes[length < 0 ? -1 - length : length] = 0;
  return path.address;
}

function placeKey(attribute: string): number {
  // XATTR_NAME_MAX is 255; longer ones are cut to 256 bytes, which the kernel answers with ERANGE.
  const length = writeFileName(attribute, key.bytes, 0, 256);
  key.bytes[length < 0 ? -1 - length : length] = 0;
  return key.address;
}

function placeArguments(address: number, size: number): number {
  args.bytes.writeBigUInt64LE(BigInt(address), 0);
  args.bytes.writeUInt32LE(size, 8);
  return args.address;
}

let hasAt = true;
const none: readonly string[] = [];

/** The call of 6.13, or the one that follows no link, or, for a descriptor that must be followed from /proc, the one that does. */
function call(
  dirFd: number,
  name: string,
  at: (flags: number, path: number) => number,
  byPath: (follow: boolean, path: number) => number,
): number {
  if (hasAt) {
    const result = at(name === '' ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW, placePath(name));
    if (result !== -ERRNO.ENOSYS && result !== -ERRNO.EBADF) return result;
    hasAt = result !== -ERRNO.ENOSYS;
  }
  const follow = name === '';
  return byPath(follow, placePath(follow ? `/proc/self/fd/${dirFd}` : `/proc/self/fd/${dirFd}/${name}`));
}

/** listxattr(7): names of the attributes; none where the file system has no attributes. `trusted.*` needs CAP_SYS_ADMIN in the initial user namespace. */
export function listXattrs(dirFd: number, name: string): readonly string[] {
  const length = call(
    dirFd,
    name,
    (flags, at) => syscall(SYS.listxattrat, dirFd, at, flags, buffer.address, SIZE),
    (follow, at) => syscall(follow ? SYS.listxattr : SYS.llistxattr, at, buffer.address, SIZE),
  );
  if (length === 0 || length === -ERRNO.EOPNOTSUPP) return none;
  check('listxattr', length, { path: name });
  return decodeFileName(buffer.bytes.subarray(0, length - 1)).split('\0');
}

/** flistxattr(2): {@link listXattrs} of a file that is open (not with O_PATH), for half the time. */
export function listXattrsFd(fd: number): readonly string[] {
  const length = syscall(SYS.flistxattr, fd, buffer.address, SIZE);
  if (length === 0 || length === -ERRNO.EOPNOTSUPP) return none;
  check('flistxattr', length);
  return decodeFileName(buffer.bytes.subarray(0, length - 1)).split('\0');
}

/** getxattr(2): the value's exact bytes; `undefined` when there is no such attribute, or none may be there. */
export function getXattr(dirFd: number, name: string, attribute: string): Buffer | undefined {
  const wanted = placeKey(attribute);
  const length = call(
    dirFd,
    name,
    (flags, at) => syscall(SYS.getxattrat, dirFd, at, flags, wanted, placeArguments(buffer.address, SIZE), ARGS_SIZE),
    (follow, at) => syscall(follow ? SYS.getxattr : SYS.lgetxattr, at, wanted, buffer.address, SIZE),
  );
  if (length === -ERRNO.ENODATA || length === -ERRNO.EOPNOTSUPP) return undefined;
  check('getxattr', length, { path: name, args: { attribute } });
  return Buffer.from(buffer.bytes.subarray(0, length));
}

/** setxattr(2), creating or replacing. Result: 0 or a negated errno. */
export function setXattr(dirFd: number, name: string, attribute: string, value: Uint8Array): number {
  const copy = value.length <= SIZE ? buffer : allocate(value.length);
  copy.bytes.set(value);
  const wanted = placeKey(attribute);
  return call(
    dirFd,
    name,
    (flags, at) =>
      syscall(SYS.setxattrat, dirFd, at, flags, wanted, placeArguments(copy.address, value.length), ARGS_SIZE),
    (follow, at) => syscall(follow ? SYS.setxattr : SYS.lsetxattr, at, wanted, copy.address, value.length, 0),
  );
}

/** removexattr(2). Result: 0 or a negated errno. */
export function removeXattr(dirFd: number, name: string, attribute: string): number {
  const wanted = placeKey(attribute);
  return call(
    dirFd,
    name,
    (flags, at) => syscall(SYS.removexattrat, dirFd, at, flags, wanted),
    (follow, at) => syscall(follow ? SYS.removexattr : SYS.lremovexattr, at, wanted),
  );
}
