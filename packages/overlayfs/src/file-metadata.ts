import {
  check,
  chmodAt,
  chownAt,
  chownFd,
  ERRNO,
  getXattr,
  removeXattr,
  S,
  SpecError,
  type Stat,
  setXattr,
  utimesAt,
} from '@ns/libc';
import { ownXattrs } from './compare-files.ts';
import { isId } from './owner.ts';
import { overlayPrefixes } from './xattr-names.ts';

/** What is set on a file after its content is there. */
export interface Metadata extends Pick<Stat, 'mode' | 'uid' | 'gid' | 'mtimeSec' | 'mtimeNsec'> {
  readonly xattrs: Iterable<readonly [string, Buffer]>;
}

/** Something that could not be carried over, and why. */
export interface Skipped {
  readonly path: string;
  /** `owner`, `device` or the name of an attribute. */
  readonly what: string;
  /** errno name. */
  readonly reason: string;
}

/** How ownership is treated: `keep` needs CAP_CHOWN, `ignore` leaves files to whoever makes them. */
export type OwnershipPolicy = 'keep' | 'ignore';

/** Unless the caller wants it otherwise: what this process can do. */
export function defaultOwnership(): OwnershipPolicy {
  return process.geteuid?.() === 0 ? 'keep' : 'ignore';
}

/**
 * What gives power to whoever uses a file: set-user-ID and set-group-ID of files, file capabilities, device nodes. `drop` is for
 * files of somebody untrusted: root in a container makes all of them, and with owners kept they work on the host.
 */
export type PrivilegePolicy = 'keep' | 'drop';

/**
 * Sets everything about a file but its content, on the name itself, never on what a link leads to; on an open descriptor (not
 * an O_PATH one) for an empty name. The order matters:
 * chown(2) clears setuid bits and security.capability, chmod(2) comes after it; times are last, because all of these count
 * as changes only of ctime but writes before would not.
 *
 * @returns the attributes the file system did not take
 */
export function applyMetadata(
  dirFd: number,
  name: string,
  path: string,
  metadata: Metadata,
  ownership: OwnershipPolicy,
): Skipped[] {
  const { mode, uid, gid } = metadata;
  if (ownership === 'keep') {
    if (!isId(uid) || !isId(gid)) throw new SpecError('mapOwner', 'ids from 0 to 4294967294', { uid, gid });
    check('fchownat', name === '' ? chownFd(dirFd, uid, gid) : chownAt(dirFd, name, uid, gid), {
      path,
      hint: "Keeping owners needs CAP_CHOWN and, in a user namespace, ids that are mapped; use ownership: 'ignore'",
    });
  }
  if ((mode & S.IFMT) !== S.IFLNK) check('fchmodat2', chmodAt(dirFd, name, mode & 0o7777), { path });
  return applyXattrsAndTimes(dirFd, name, path, metadata);
}

/** {@link applyMetadata} of a file that has its owner and mode. */
export function applyXattrsAndTimes(
  dirFd: number,
  name: string,
  path: string,
  metadata: Pick<Metadata, 'xattrs' | 'mtimeSec' | 'mtimeNsec'>,
): Skipped[] {
  const skipped: Skipped[] = [];
  for (const [attribute, value] of metadata.xattrs) {
    // Written by whoever made the archive; on a layer they would be orders to the kernel (security.md: strip on unpacking).
    if (overlayPrefixes.some((prefix) => attribute.startsWith(prefix))) continue;
    const result = setXattr(dirFd, name, attribute, value);
    if (result === -ERRNO.EOPNOTSUPP || result === -ERRNO.EPERM) {
      skipped.push({ path, what: attribute, reason: result === -ERRNO.EPERM ? 'EPERM' : 'EOPNOTSUPP' });
    } else check('setxattr', result, { path, args: { attribute } });
  }
  applyTimes(dirFd, name, path, metadata);
  return skipped;
}

const ACCESS_ACL = 'system.posix_acl_access';
const DEFAULT_ACL = 'system.posix_acl_default';

/** Whether what is made in a directory gets ACLs from it. */
export function givesAcls(directoryFd: number): boolean {
  return getXattr(directoryFd, '', DEFAULT_ACL) !== undefined;
}

/**
 * Takes away what a new file, still without its mode, has got from its directory's default ACL: what it is a copy of need not
 * have it, and whom that ACL names could read the copy and not the original.
 */
export function removeAcls(dirFd: number, name: string, path: string): void {
  for (const attribute of [ACCESS_ACL, DEFAULT_ACL]) {
    const result = removeXattr(dirFd, name, attribute);
    // (A link has none.)
    if (result !== -ERRNO.ENODATA && result !== -ERRNO.EOPNOTSUPP)
      check('removexattr', result, { path, args: { attribute } });
  }
}

/** {@link removeAcls} where the directory gives any. */
export function removeInheritedAcls(dirFd: number, name: string, path: string): void {
  if (givesAcls(dirFd)) removeAcls(dirFd, name, path);
}

/** Modification time with nanoseconds; the access time is set to the same, so that copies are reproducible. */
export function applyTimes(
  dirFd: number,
  name: string,
  path: string,
  { mtimeSec, mtimeNsec }: Pick<Stat, 'mtimeSec' | 'mtimeNsec'>,
): void {
  check('utimensat', utimesAt(dirFd, name, { atimeSec: mtimeSec, atimeNsec: mtimeNsec, mtimeSec, mtimeNsec }), {
    path,
  });
}

/** Reads what {@link applyMetadata} sets; `overlay` includes overlayfs's own attributes. */
export function* readXattrs(
  dirFd: number,
  name: string,
  names: readonly string[] = ownXattrs(dirFd, name),
): Generator<readonly [string, Buffer]> {
  for (const attribute of names) {
    const value = getXattr(dirFd, name, attribute);
    if (value) yield [attribute, value];
  }
}

/** Removes the attributes a file has and shall not have. */
export function removeOtherXattrs(dirFd: number, name: string, path: string, wanted: ReadonlySet<string>): void {
  for (const attribute of ownXattrs(dirFd, name)) {
    if (!wanted.has(attribute))
      check('removexattr', removeXattr(dirFd, name, attribute), { path, args: { attribute } });
  }
}
