import { allocate, closeFd, getXattr, readlinkAt, type Stat, SYS, syscall } from '@ns/libc';
import { inodeKey, isDevice, isDirectory, isRegular, isSymlink, permissions } from './file-type.ts';
import { openRegular } from './open-regular.ts';
import { overlayPrefixes, xattrNames } from './xattr-names.ts';

/** A name in an open directory, with what it was found to be. */
export interface NamedFile {
  readonly dirFd: number;
  readonly name: string;
  readonly stat: Stat;
}

/** `content`: bytes count, times do not. `times`: a newer file counts as changed, and equal times and sizes as equal. */
export type Comparison = 'content' | 'times';

/** Whether the two are the same to whoever looks at them: type, permissions, owner, attributes, target, content. */
export function sameFile(a: NamedFile, b: NamedFile, comparison: Comparison): boolean {
  const { stat: x } = a;
  const { stat: y } = b;
  if (x.mode !== y.mode || x.uid !== y.uid || x.gid !== y.gid) return false;
  if (inodeKey(x) === inodeKey(y)) return true;
  if (!sameXattrs(a, b)) return false;
  if (isDirectory(x)) return true;
  if (isDevice(x)) return x.rdevMajor === y.rdevMajor && x.rdevMinor === y.rdevMinor;
  if (isSymlink(x)) return readlinkAt(a.dirFd, a.name) === readlinkAt(b.dirFd, b.name);
  if (!isRegular(x)) return true;
  if (x.size !== y.size) return false;
  if (comparison === 'times') return x.mtimeSec === y.mtimeSec && x.mtimeNsec === y.mtimeNsec;
  return sameContent(a, b);
}

/** Whether permissions, owner and attributes are the same; times do not count. */
export function sameMetadata(a: NamedFile, b: NamedFile): boolean {
  return (
    permissions(a.stat) === permissions(b.stat) &&
    a.stat.uid === b.stat.uid &&
    a.stat.gid === b.stat.gid &&
    sameXattrs(a, b)
  );
}

const isPrivate = (attribute: string): boolean => overlayPrefixes.some((prefix) => attribute.startsWith(prefix));

/** Attributes that belong to the file, not to overlayfs, sorted. */
export function ownXattrs(dirFd: number, name: string): readonly string[] {
  return onlyOwn(xattrNames(dirFd, name));
}

/** Of some attributes, those that belong to the file. */
export function onlyOwn(names: readonly string[]): readonly string[] {
  return names.length === 0 ? names : names.filter((attribute) => !isPrivate(attribute)).sort();
}

function sameXattrs(a: NamedFile, b: NamedFile): boolean {
  const names = ownXattrs(a.dirFd, a.name);
  const others = ownXattrs(b.dirFd, b.name);
  if (names.length !== others.length || names.some((name, index) => name !== others[index])) return false;
  return names.every((attribute) => {
    const value = getXattr(a.dirFd, a.name, attribute);
    const other = getXattr(b.dirFd, b.name, attribute);
    return value !== undefined && other !== undefined && value.equals(other);
  });
}

const CHUNK = 128 * 1024;
const buffers = [allocate(CHUNK), allocate(CHUNK)] as const;

/** Byte by byte. A file that cannot be opened any more differs, and so does one that somebody holds a lease on. */
function sameContent(a: NamedFile, b: NamedFile): boolean {
  const fd = openRegular(a.dirFd, a.name);
  const other = openRegular(b.dirFd, b.name);
  try {
    if (fd < 0 || other < 0) return false;
    for (let offset = 0; ; ) {
      // pread, so that a short read of one does not put the two out of step.
      const length = syscall(SYS.pread64, fd, buffers[0].address, CHUNK, offset);
      const otherLength = syscall(SYS.pread64, other, buffers[1].address, CHUNK, offset);
      if (length < 0 || otherLength !== length) return false;
      if (length === 0) return true;
      if (buffers[0].bytes.compare(buffers[1].bytes, 0, length, 0, length) !== 0) return false;
      offset += length;
    }
  } finally {
    if (fd >= 0) closeFd(fd);
    if (other >= 0) closeFd(other);
  }
}
