import { ERRNO } from './errno.ts';
import { check } from './errors.ts';
import { decodeFileName, encodeFileName } from './file-names.ts';
import { syscall } from './libc.ts';
import { allocate } from './memory.ts';
import { SYS } from './syscalls.ts';

/* Extended attributes of a name below a directory descriptor, links themselves included. The *xattrat(2) calls are since
   6.13; the l*xattr(2) ones through /proc/self/fd/N/name do the same everywhere: only the last component is looked up,
   and it is not followed. */

// XATTR_SIZE_MAX and XATTR_LIST_MAX are both 64 KiB.
const buffer = allocate(64 * 1024);
const path = allocate(4096 + 64);
const key = allocate(256);

function placePath(dirFd: number, name: string): number {
  const length = encodeFileName(name === '' ? `/proc/self/fd/${dirFd}` : `/proc/self/fd/${dirFd}/${name}`).copy(
    path.bytes,
    0,
    0,
    path.bytes.length - 1,
  );
  path.bytes[length] = 0;
  return path.address;
}

function placeKey(attribute: string): number {
  // XATTR_NAME_MAX is 255; longer ones are cut to 256 bytes, which the kernel answers with ERANGE.
  const length = encodeFileName(attribute).copy(key.bytes, 0, 0, 255);
  key.bytes[length] = 0;
  return key.address;
}

// The file itself, not the magic link to it, is wanted for an empty name, so that one must be followed.
const listCall = (name: string): number => (name === '' ? SYS.listxattr : SYS.llistxattr);
const getCall = (name: string): number => (name === '' ? SYS.getxattr : SYS.lgetxattr);
const setCall = (name: string): number => (name === '' ? SYS.setxattr : SYS.lsetxattr);
const removeCall = (name: string): number => (name === '' ? SYS.removexattr : SYS.lremovexattr);

/** listxattr(7): names of the attributes; none where the file system has no attributes. `trusted.*` needs CAP_SYS_ADMIN in the initial user namespace. */
export function listXattrs(dirFd: number, name: string): string[] {
  const length = syscall(listCall(name), placePath(dirFd, name), buffer.address, buffer.bytes.length);
  if (length === 0 || length === -ERRNO.EOPNOTSUPP!) return [];
  check('listxattr', length, { path: name });
  return decodeFileName(buffer.bytes.subarray(0, length - 1)).split('\0');
}

/** getxattr(2): the value's exact bytes; `undefined` when there is no such attribute, or none may be there. */
export function getXattr(dirFd: number, name: string, attribute: string): Buffer | undefined {
  const length = syscall(
    getCall(name),
    placePath(dirFd, name),
    placeKey(attribute),
    buffer.address,
    buffer.bytes.length,
  );
  if (length === -ERRNO.ENODATA! || length === -ERRNO.EOPNOTSUPP!) return undefined;
  check('getxattr', length, { path: name, args: { attribute } });
  return Buffer.from(buffer.bytes.subarray(0, length));
}

/** setxattr(2), creating or replacing. Result: 0 or a negated errno. */
export function setXattr(dirFd: number, name: string, attribute: string, value: Uint8Array): number {
  const copy = value.length <= buffer.bytes.length ? buffer : allocate(value.length);
  copy.bytes.set(value);
  return syscall(setCall(name), placePath(dirFd, name), placeKey(attribute), copy.address, value.length, 0);
}

/** removexattr(2). Result: 0 or a negated errno. */
export function removeXattr(dirFd: number, name: string, attribute: string): number {
  return syscall(removeCall(name), placePath(dirFd, name), placeKey(attribute));
}
