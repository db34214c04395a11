import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { O, type OwnedFd, open, ResourceStack, UnavailableError, withDescriptorsForChild } from '@ns/libc';
import { cloneMount, unmount } from '@ns/mounts';
import { probeDriver } from './probe-driver.ts';
import { RootDirectory } from './root-directory.ts';
import type { StorageDriver, WritableRootSpec } from './storage-driver.ts';
import { type UpperDriver, UpperRoot } from './upper-root.ts';

// Characters that separate options and layers on its command line.
const PLAIN = /^\/[\w/.+@-]+$/;

/**
 * Roots as mounts of fuse-overlayfs, a program that does in user space what the kernel refuses to in a user namespace (before 5.11,
 * or on file systems that cannot hold an upper). Needs the program (Debian package fuse-overlayfs) and /dev/fuse.
 */
export class FuseOverlayfsDriver implements StorageDriver, UpperDriver {
  readonly name = 'fuse-overlayfs';
  readonly whiteouts = 'oci';
  readonly #home: RootDirectory;
  readonly #program: string;

  /**
   * @param home - a directory of the driver's own
   * @param options - `program`: default `fuse-overlayfs`, looked for in the system's own directories
   */
  constructor(home: string, options: { program?: string } = {}) {
    this.#home = new RootDirectory(home);
    this.#program = options.program ?? 'fuse-overlayfs';
  }

  probe(): Promise<string | undefined> {
    return probeDriver(this, this.#home);
  }

  async create(id: string, spec: WritableRootSpec): Promise<UpperRoot> {
    if (spec.sizeBytes !== undefined) {
      throw new UnavailableError(
        'a size limit',
        'the fuse-overlayfs driver has none',
        'Use the overlay driver, or a home made with createSizedDirectory',
      );
    }
    await this.#home.create(id, spec, async (path) => {
      for (const name of ['upper', 'work']) await mkdir(join(path, name));
    });
    return this.open(id);
  }

  async open(id: string): Promise<UpperRoot> {
    return new UpperRoot(id, await this.#home.read(id), this, this.#home.of(id));
  }

  list(): Promise<string[]> {
    return this.#home.list();
  }

  remove(id: string): Promise<void> {
    return this.#home.remove(id);
  }

  /** The program lives for as long as its mount: until the last descriptor and mount of it are gone. */
  async mount(layers: readonly string[], upper: string, work: string): Promise<OwnedFd> {
    const place = `${upper}.mount`;
    await mkdir(place, { recursive: true });
    using held = new ResourceStack();
    // Another process is to open these, so they are named by descriptors of ours.
    const name = (path: string): string =>
      PLAIN.test(path) ? path : `/proc/${process.pid}/fd/${held.use(open(path, O.PATH | O.DIRECTORY)).fd}`;
    const options = `lowerdir=${layers.map(name).join(':')},upperdir=${name(upper)},workdir=${name(work)}`;
    const { execa } = await import('execa');
    const result = await withDescriptorsForChild(() =>
      execa(this.#program, ['-o', options, place], {
        reject: false,
        stdin: 'ignore',
        extendEnv: false,
        env: { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin' },
        // It goes into the background and would keep pipes open.
        stdout: 'ignore',
        stderr: 'ignore',
      }),
    );
    if (result.code === 'ENOENT')
      throw new UnavailableError(
        'fuse-overlayfs',
        'the program is not installed',
        'Install the package fuse-overlayfs, or use the overlay or vfs driver',
      );
    if (result.exitCode !== 0)
      throw new UnavailableError(
        'fuse-overlayfs',
        `it could not mount: ${result.shortMessage}`,
        'Is there a /dev/fuse?',
      );
    try {
      return cloneMount(place);
    } finally {
      unmount(place, 'detach');
      await rmdir(place);
    }
  }
}
