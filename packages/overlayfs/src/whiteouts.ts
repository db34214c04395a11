import { getXattr, S, type Stat } from '@ns/libc';
import { overlayPrefixes, xattrNames } from './xattr-names.ts';

/* How "deleted" and "hides everything below it" are written down, in the three worlds a layer passes through:
   - overlayfs as root: a character device 0/0; trusted.overlay.opaque = y on a directory;
   - overlayfs with `userxattr`, or nested (since 6.7): an empty file with the xattr user.overlay.whiteout (trusted. too), in a
     directory whose opaque xattr is x;
   - OCI layers (and fuse-overlayfs where mknod is refused): an empty file .wh.NAME; .wh..wh..opq in a directory. */

/** Prefix of a name that stands for the absence of the rest of the name. */
export const WHITEOUT_PREFIX = '.wh.';
/** The name that makes its directory opaque. */
export const OPAQUE_MARKER = '.wh..wh..opq';
/** What old versions of fuse-overlayfs looked for; new ones write it beside the other. */
export const OLD_OPAQUE_MARKER = '.wh..opq';
/** Prefix of names that AUFS kept for itself. */
export const WHITEOUT_META_PREFIX = '.wh..wh.';

/** Which marks a layer directory carries. `overlay`: those of the kernel, where `.wh.x` is an ordinary name; `oci`: both. */
export type WhiteoutForm = 'overlay' | 'oci';

/** The value of an overlay attribute in whichever name space it is; see {@link overlayPrefixes}. */
export function overlayXattr(dirFd: number, name: string, key: string): string | undefined {
  // Nearly all files have none, so one call is enough.
  const names = xattrNames(dirFd, name);
  if (names.length === 0) return undefined;
  const prefix = overlayPrefixes.find((candidate) => names.includes(candidate + key));
  return prefix === undefined ? undefined : getXattr(dirFd, name, prefix + key)?.toString('latin1');
}

/** A character device 0/0. */
export function isDeviceWhiteout(stat: Stat): boolean {
  return (stat.mode & S.IFMT) === S.IFCHR && stat.rdevMajor === 0 && stat.rdevMinor === 0;
}

/** An empty file marked by attribute. Look only in directories whose opaque attribute is `x`, as the kernel does. */
export function isXattrWhiteout(dirFd: number, name: string, stat: Stat): boolean {
  return (stat.mode & S.IFMT) === S.IFREG && stat.size === 0 && overlayXattr(dirFd, name, 'whiteout') !== undefined;
}

/** What the opaque attribute of a directory says: it hides all below (`y`), or may hold attribute whiteouts (`x`). */
export function directoryMarks(dirFd: number, name: string): { opaque: boolean; mayHoldXattrWhiteouts: boolean } {
  const value = overlayXattr(dirFd, name, 'opaque');
  return { opaque: value === 'y', mayHoldXattrWhiteouts: value === 'x' };
}

/**
 * The name a `.wh.` name hides, `undefined` when it is none or is AUFS's own. `.wh...` would hide `..`: whoever makes
 * that wants something deleted that is not his.
 */
export function hiddenBy(name: string): string | undefined {
  if (!name.startsWith(WHITEOUT_PREFIX) || name.startsWith(WHITEOUT_META_PREFIX) || name === OLD_OPAQUE_MARKER)
    return undefined;
  const hidden = name.slice(WHITEOUT_PREFIX.length);
  return hidden === '' || hidden === '.' || hidden === '..' ? undefined : hidden;
}
