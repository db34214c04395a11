import type { OwnedFd } from '@ns/libc';
import { type DirectoryPlace, openDirectory } from './directory-place.ts';
import { removeOverlayXattrs } from './overlay-xattrs.ts';
import { emptyDirectory } from './remove-tree.ts';
import { drain } from './time-slices.ts';

/**
 * Rejects what was changed: empties an upper and its work directory, so that the overlay mounted next shows the lowers alone.
 * They must not be mounted. Idempotent. Privilege: that of removing the files.
 */
export async function discard(
  upper: DirectoryPlace,
  work?: DirectoryPlace,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  for (const place of work === undefined ? [upper] : [upper, work]) {
    using directory: OwnedFd = openDirectory(place);
    await drain(emptyDirectory(directory), () => {}, options.signal);
    removeOverlayXattrs(directory.fd, '');
  }
}
