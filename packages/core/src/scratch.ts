import { mkdirSync } from 'node:fs';
import type { OwnedFd } from '@ns/libc';
import { createMount } from '@ns/mounts';

/** The file system of a container's own layers, kept from one start to the next. */
export interface Scratch {
  /** A detached mount. */
  readonly fd: OwnedFd;
  /** The covering layer is there. */
  readonly covered: boolean;
  /** A layer `base` is there. */
  readonly hasBase: boolean;
}

/**
 * A scratch file system with a layer that somebody else fills. Not a directory of the host: a layer inside another layer
 * of one overlay is refused.
 */
export async function newScratchWithBase(fill: (base: string) => Promise<void>): Promise<Scratch> {
  const fd = createMount({ type: 'tmpfs', options: ['mode=0755', 'nosuid', 'nodev'] });
  try {
    const base = `${fd.procPath}/base`;
    mkdirSync(base);
    await fill(base);
    return { fd, covered: false, hasBase: true };
  } catch (error) {
    fd.close();
    throw error;
  }
}
