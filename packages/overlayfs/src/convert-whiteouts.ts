import { randomBytes } from 'node:crypto';
import {
  check,
  closeFd,
  ERRNO,
  mknodAt,
  O,
  OwnedFd,
  openAt,
  removeXattr,
  renameAt,
  S,
  type Stat,
  setXattr,
  statAt,
  unlinkAt,
} from '@ns/libc';
import { type DirectoryPlace, openChildDirectory, openDirectory } from './directory-place.ts';
import { isDirectory } from './file-type.ts';
import { markForAnyMount } from './overlay-xattrs.ts';
import { drain, type Steps } from './time-slices.ts';
import { type LayerEntry, walkLayer } from './walk-layer.ts';
import { isDeviceWhiteout, isXattrWhiteout, OPAQUE_MARKER, overlayXattr, WHITEOUT_PREFIX } from './whiteouts.ts';
import { overlayPrefixes } from './xattr-names.ts';

/**
 * Ways to write down what a layer deletes. `overlay`: devices 0/0 and trusted.overlay.opaque. `overlay-user`: devices 0/0 (any user may
 * make them since 5.8) and user.overlay.opaque, for mounts with `userxattr`. `overlay-xattr`: empty files marked by attribute
 * instead of devices (since 6.7), for places where no device node may be. `oci`: `.wh.` names.
 */
export type WhiteoutNotation = 'overlay' | 'overlay-user' | 'overlay-xattr' | 'oci';

/**
 * Rewrites the whiteouts and opaque marks of a layer directory, whichever notation they are in, in place.
 *
 * Privilege: `overlay` sets trusted.* attributes, CAP_SYS_ADMIN in the initial user namespace; the others that of the files.
 *
 * @returns how many marks there are
 *
 * @example
 * ```ts
 * await convertWhiteouts('/layers/top', 'overlay-user'); // for a mount with userxattr
 * ```
 */
export async function convertWhiteouts(
  directory: DirectoryPlace,
  to: WhiteoutNotation,
  options: { signal?: AbortSignal } = {},
): Promise<number> {
  using root = openDirectory(directory);
  let marks = 0;
  function* steps(): Steps<never> {
    for (const entry of walkLayer(root, { whiteouts: 'oci' })) {
      if (entry.whiteout) {
        rewriteWhiteout(entry, to);
        marks++;
      } else if (entry.opaque) {
        rewriteOpaque(entry, to);
        marks++;
      }
      yield undefined;
    }
  }
  await drain(steps(), () => {}, options.signal);
  return marks;
}

/** The new mark is there before the old one goes: what fails leaves the file deleted. */
function rewriteWhiteout(entry: LayerEntry, to: WhiteoutNotation): void {
  const { dirFd, name, path } = entry;
  const ociName = WHITEOUT_PREFIX + name;
  const successor = statAt(dirFd, name);
  if (successor && !isWhiteout(dirFd, name, successor)) {
    // Deleted and made anew in one layer. Only here two names can say so; elsewhere what is there hides what was.
    if (to === 'oci') return;
    if (isDirectory(successor)) rewriteOpaque(entry, to);
  } else if (to === 'oci') makeEmpty(dirFd, ociName, path);
  // (Below an opaque directory there is nothing to hide, and the attribute can say only one of the two.)
  else if (to === 'overlay-xattr' && overlayXattr(dirFd, '.', 'opaque') === 'y') unlinkAt(dirFd, name);
  else {
    const made = `.ns-whiteout-${randomBytes(16).toString('hex')}`;
    try {
      if (to === 'overlay-xattr') {
        makeEmpty(dirFd, made, path);
        markForAnyMount(dirFd, made, path, 'whiteout', yes);
        // The kernel looks for such files only where the directory says that there may be some.
        markForAnyMount(dirFd, '.', path, 'opaque', Buffer.from('x'));
      } else check('mknodat', mknodAt(dirFd, made, S.IFCHR, 0, 0), { path });
      check('renameat2', renameAt(dirFd, made, dirFd, name), { path });
    } finally {
      unlinkAt(dirFd, made);
    }
  }
  unlinkAt(dirFd, to === 'oci' ? name : ociName);
}

function isWhiteout(dirFd: number, name: string, stat: Stat): boolean {
  return isDeviceWhiteout(stat) || isXattrWhiteout(dirFd, name, stat);
}

const yes = Buffer.from('y');
const OPAQUE = 'opaque';
const opaquePrefixes: Readonly<Record<Exclude<WhiteoutNotation, 'oci'>, readonly string[]>> = {
  overlay: ['trusted.overlay.'],
  'overlay-user': ['user.overlay.'],
  'overlay-xattr': ['trusted.overlay.', 'user.overlay.'],
};

function rewriteOpaque({ dirFd, name, path }: LayerEntry, to: WhiteoutNotation): void {
  // By its own descriptor: a path of two components could be made to lead elsewhere.
  using directory = new OwnedFd(check('openat', openChildDirectory(dirFd, name), { path }));
  const kept = to === 'oci' ? [] : opaquePrefixes[to];
  if (to === 'oci') makeEmpty(directory.fd, OPAQUE_MARKER, path);
  else if (to === 'overlay-xattr') markForAnyMount(directory.fd, '.', path, OPAQUE, yes);
  else {
    const attribute = kept[0] + OPAQUE;
    check('setxattr', setXattr(directory.fd, '.', attribute, yes), { path, args: { attribute } });
  }
  for (const prefix of overlayPrefixes) if (!kept.includes(prefix)) removeXattr(directory.fd, '.', prefix + OPAQUE);
  if (to !== 'oci') unlinkAt(directory.fd, OPAQUE_MARKER);
}

/** An empty file, or what is there. */
function makeEmpty(dirFd: number, name: string, path: string): void {
  const fd = openAt(dirFd, name, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, 0o600);
  if (fd !== -ERRNO.EEXIST) closeFd(check('openat', fd, { path }));
}
