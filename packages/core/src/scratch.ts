import type { OwnedFd } from '@ns/libc';
import { createMount } from '@ns/mounts';
import type { Owner } from '@ns/overlayfs';

/** The file system of a container's own layers, kept from one start to the next. */
export interface Scratch {
  /** A detached mount. */
  readonly fd: OwnedFd;
  /** The covering layer is there. */
  readonly covered: boolean;
}

/**
 * A scratch file system with upper layers that somebody else fills.
 *
 * @param options - those of its tmpfs
 * @param owner - the container's root, as this process sees it
 */
export async function newScratch(
  options: Readonly<Record<string, string>>,
  { uid, gid }: Owner,
  fill: (scratch: string) => Promise<void>,
): Promise<Scratch> {
  const fd = createMount({
    type: 'tmpfs',
    options: [...Object.entries({ ...options, uid, gid }).map(([key, value]) => `${key}=${value}`), 'nosuid', 'nodev'],
  });
  try {
    await fill(fd.procPath);
    return { fd, covered: false };
  } catch (error) {
    fd.close();
    throw error;
  }
}
