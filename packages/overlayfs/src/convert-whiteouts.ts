import { check, closeFd, mknodAt, O, OwnedFd, openAt, removeXattr, S, setXattr, unlinkAt } from '@ns/libc';
import { type DirectoryPlace, openChildDirectory, openDirectory } from './directory-place.ts';
import { drain, type Steps } from './time-slices.ts';
import { type LayerEntry, walkLayer } from './walk-layer.ts';
import { OPAQUE_MARKER, overlayPrefixes, overlayXattr, WHITEOUT_PREFIX } from './whiteouts.ts';

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

function rewriteWhiteout({ dirFd, name, path }: LayerEntry, to: WhiteoutNotation): void {
  // Both forms: which of them it is in does not matter then.
  unlinkAt(dirFd, name);
  unlinkAt(dirFd, WHITEOUT_PREFIX + name);
  if (to === 'oci') makeEmpty(dirFd, WHITEOUT_PREFIX + name, path);
  else if (to !== 'overlay-xattr') check('mknodat', mknodAt(dirFd, name, S.IFCHR, 0, 0), { path });
  else if (overlayXattr(dirFd, '.', 'opaque') !== 'y') {
    // (Below an opaque directory there is nothing to hide, and the attribute can say only one of the two.)
    makeEmpty(dirFd, name, path);
    mark(dirFd, name, path, 'whiteout', 'y');
    // The kernel looks for such files only where the directory says that there may be some.
    mark(dirFd, '.', path, 'opaque', 'x');
  }
}

function rewriteOpaque({ dirFd, name, path }: LayerEntry, to: WhiteoutNotation): void {
  // By its own descriptor: a path of two components could be made to lead elsewhere.
  using directory = new OwnedFd(check('openat', openChildDirectory(dirFd, name), { path }));
  for (const prefix of overlayPrefixes) removeXattr(directory.fd, '.', `${prefix}opaque`);
  unlinkAt(directory.fd, OPAQUE_MARKER);
  if (to === 'oci') makeEmpty(directory.fd, OPAQUE_MARKER, path);
  else {
    const attribute = to === 'overlay-user' ? 'user.overlay.opaque' : 'trusted.overlay.opaque';
    check('setxattr', setXattr(directory.fd, '.', attribute, Buffer.from('y')), { path, args: { attribute } });
  }
}

/** Both name spaces: the same layer works with and without `userxattr`. */
function mark(dirFd: number, name: string, path: string, key: string, value: string): void {
  for (const prefix of ['trusted.overlay.', 'user.overlay.'])
    check('setxattr', setXattr(dirFd, name, prefix + key, Buffer.from(value)), { path });
}

function makeEmpty(dirFd: number, name: string, path: string): void {
  closeFd(check('openat', openAt(dirFd, name, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, 0o600), { path }));
}
