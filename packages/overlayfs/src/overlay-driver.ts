import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { OwnedFd } from '@ns/libc';
import { createOverlay } from './mount-overlay.ts';
import type { OverlayOptions } from './overlay-options.ts';
import { probeDriver } from './probe-driver.ts';
import { RootDirectory } from './root-directory.ts';
import { createSizedDirectory, openSizedDirectory } from './sized-directory.ts';
import type { StorageDriver, WritableRootSpec } from './storage-driver.ts';
import { type UpperDriver, UpperRoot } from './upper-root.ts';

/**
 * Roots as overlay mounts: layers are shared by all, a root takes only what is written to it. The default driver. Needs
 * CAP_SYS_ADMIN over the mount namespace, and a home on a file system that can hold an upper (not on an overlay).
 */
export class OverlayDriver implements StorageDriver, UpperDriver {
  readonly name = 'overlay';
  readonly whiteouts = 'overlay';
  readonly #home: RootDirectory;
  readonly #options: Pick<OverlayOptions, 'userxattr' | 'volatile'>;

  /** @param home - a directory of the driver's own */
  constructor(home: string, options: Pick<OverlayOptions, 'userxattr' | 'volatile'> = {}) {
    this.#home = new RootDirectory(home);
    this.#options = options;
  }

  probe(): Promise<string | undefined> {
    return probeDriver(this, this.#home);
  }

  async create(id: string, spec: WritableRootSpec): Promise<UpperRoot> {
    await this.#home.create(id, spec, async (path) => {
      using sized =
        spec.sizeBytes === undefined ? undefined : await createSizedDirectory(join(path, 'sized'), spec.sizeBytes);
      for (const name of ['upper', 'work']) await mkdir(join(sized?.path ?? path, name));
    });
    return this.open(id);
  }

  async open(id: string): Promise<UpperRoot> {
    const spec = await this.#home.read(id);
    const path = this.#home.of(id);
    const sized = spec.sizeBytes === undefined ? undefined : await openSizedDirectory(join(path, 'sized'));
    return new UpperRoot(id, spec, this, sized?.path ?? path, sized);
  }

  list(): Promise<string[]> {
    return this.#home.list();
  }

  async mount(layers: readonly string[], upper: string, work: string): Promise<OwnedFd> {
    return createOverlay({ ...this.#options, lower: layers, upper, work });
  }

  remove(id: string): Promise<void> {
    return this.#home.remove(id);
  }
}
