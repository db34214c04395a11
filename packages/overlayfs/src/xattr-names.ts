import { getXattr, hasCode, listXattrs, listXattrsFd } from '@ns/libc';

/** Where overlayfs keeps its attributes. */
export const overlayPrefixes = ['trusted.overlay.', 'user.overlay.', 'user.fuseoverlayfs.'] as const;

/** What else than a user's own attributes a file can have. */
const known: readonly string[] = [
  ...overlayPrefixes.flatMap((prefix) =>
    ['opaque', 'whiteout', 'redirect', 'metacopy', 'origin'].map((key) => prefix + key),
  ),
  ...['security.capability', 'system.posix_acl_access', 'system.posix_acl_default'],
];

/**
 * listxattr(2). It has 64 KiB for the names, and a file of a tmpfs can have more of them (E2BIG): whoever made them would then
 * keep everybody from reading the tree. Of such a file they are those that mean something to others than its owner.
 */
export function xattrNames(dirFd: number, name: string): readonly string[] {
  return orKnown(dirFd, name, () => listXattrs(dirFd, name));
}

/** {@link xattrNames} of a file that is open (not with O_PATH). */
export function xattrNamesFd(fd: number): readonly string[] {
  return orKnown(fd, '', () => listXattrsFd(fd));
}

function orKnown(dirFd: number, name: string, list: () => readonly string[]): readonly string[] {
  try {
    return list();
  } catch (error) {
    if (!hasCode(error, 'E2BIG')) throw error;
    return known.filter((attribute) => getXattr(dirFd, name, attribute) !== undefined);
  }
}
