import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { O, open, UnavailableError } from '@ns/libc';
import { applyChanges } from './apply-changes.ts';
import { probeDriver } from './probe-driver.ts';
import { removeTree } from './remove-tree.ts';
import { RootDirectory } from './root-directory.ts';
import { snapshot } from './snapshot.ts';
import type { StorageDriver, WritableRoot, WritableRootSpec } from './storage-driver.ts';
import { drain } from './time-slices.ts';
import { type WholeDriver, WholeRoot } from './whole-root.ts';

/** Makes an empty directory what a stack of layers shows: the lowest first, the others applied to it. */
export async function flatten(layers: readonly string[], target: string): Promise<void> {
  for (const layer of [...layers].reverse()) await applyChanges(layer, target);
}

/**
 * Roots as whole copies of their layers. Works on every file system and without any privilege but that of the files; costs the time and
 * space of a copy, except where blocks can be shared (FICLONE: btrfs, xfs, bcachefs).
 */
export class VfsDriver implements StorageDriver, WholeDriver {
  readonly name = 'vfs';
  readonly #home: RootDirectory;

  /** @param home - a directory of the driver's own */
  constructor(home: string) {
    this.#home = new RootDirectory(home);
  }

  probe(): Promise<string | undefined> {
    return probeDriver(this, this.#home);
  }

  create(id: string, spec: WritableRootSpec): Promise<WholeRoot> {
    return this.#make(id, spec, (tree) => flatten(spec.layers, tree));
  }

  copy(from: WholeRoot, id: string, spec: WritableRootSpec): Promise<WholeRoot> {
    return this.#make(id, spec, async (tree) => void (await snapshot(from.tree, tree)));
  }

  async open(id: string): Promise<WritableRoot> {
    return new WholeRoot(id, await this.#home.read(id), this, this.#home.of(id));
  }

  list(): Promise<string[]> {
    return this.#home.list();
  }

  async reset(id: string, spec: WritableRootSpec): Promise<void> {
    using directory = open(this.#home.of(id), O.PATH | O.DIRECTORY);
    await drain(removeTree(directory.fd, 'root'), () => {});
    await mkdir(join(this.#home.of(id), 'root'));
    await flatten(spec.layers, join(this.#home.of(id), 'root'));
  }

  remove(id: string): Promise<void> {
    return this.#home.remove(id);
  }

  async #make(id: string, spec: WritableRootSpec, fill: (tree: string) => Promise<void>): Promise<WholeRoot> {
    if (spec.sizeBytes !== undefined) {
      throw new UnavailableError(
        'a size limit',
        'the vfs driver has none',
        'Use the overlay or btrfs driver, or a home made with createSizedDirectory',
      );
    }
    await this.#home.create(id, spec, async (path) => {
      await mkdir(join(path, 'root'));
      await fill(join(path, 'root'));
    });
    return new WholeRoot(id, spec, this, this.#home.of(id));
  }
}
