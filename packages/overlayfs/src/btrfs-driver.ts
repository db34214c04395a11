import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  check,
  ERRNO,
  fileCall,
  hasCode,
  O,
  OwnedFd,
  open,
  openAt,
  readDirectory,
  tryLock,
  UnavailableError,
} from '@ns/libc';
import { createSubvolume, destroySubvolume, isBtrfs, limitSubvolume, snapshotSubvolume } from './btrfs-subvolume.ts';
import { probeDriver } from './probe-driver.ts';
import { RootDirectory } from './root-directory.ts';
import type { StorageDriver, WritableRoot, WritableRootSpec } from './storage-driver.ts';
import { storeDirectory } from './store-directory.ts';
import { flatten } from './vfs-driver.ts';
import { type WholeDriver, WholeRoot } from './whole-root.ts';

/**
 * Roots as btrfs subvolumes: what a set of layers shows is made once, each root is a snapshot of it, at once and
 * without taking space. Needs CAP_SYS_ADMIN and a home on btrfs. `sizeBytes` is a quota group's limit on what is not shared.
 */
export class BtrfsDriver implements StorageDriver, WholeDriver {
  readonly name = 'btrfs';
  readonly #home: RootDirectory;
  readonly #bases: string;

  /** @param home - a directory of the driver's own, on btrfs */
  constructor(home: string) {
    const own = storeDirectory('home', home);
    this.#home = new RootDirectory(join(own, 'roots'));
    this.#bases = join(own, 'bases');
  }

  probe(): Promise<string | undefined> {
    return probeDriver(this, this.#home);
  }

  async create(id: string, spec: WritableRootSpec): Promise<WholeRoot> {
    using base = await this.#base(spec.layers);
    return await this.#make(id, spec, base);
  }

  async copy(from: WholeRoot, id: string, spec: WritableRootSpec): Promise<WholeRoot> {
    using source = open(from.tree, O.RDONLY | O.DIRECTORY);
    return await this.#make(id, spec, source);
  }

  async open(id: string): Promise<WritableRoot> {
    return new WholeRoot(id, await this.#home.read(id), this, this.#home.of(id));
  }

  list(): Promise<string[]> {
    return this.#home.list();
  }

  async reset(id: string, spec: WritableRootSpec): Promise<void> {
    using base = await this.#base(spec.layers);
    using directory = open(this.#home.of(id), O.RDONLY | O.DIRECTORY);
    destroySubvolume(directory.fd, 'root');
    this.#snapshot(base, directory, spec);
  }

  async remove(id: string): Promise<void> {
    const path = this.#home.of(id);
    if (existsSync(path)) {
      using directory = open(path, O.RDONLY | O.DIRECTORY);
      destroySubvolume(directory.fd, 'root');
    }
    await this.#home.remove(id);
  }

  async #make(id: string, spec: WritableRootSpec, source: OwnedFd): Promise<WholeRoot> {
    await this.#home.create(id, spec, async (path) => {
      using directory = open(path, O.RDONLY | O.DIRECTORY);
      this.#snapshot(source, directory, spec);
    });
    return new WholeRoot(id, spec, this, this.#home.of(id));
  }

  #snapshot(source: OwnedFd, directory: OwnedFd, { sizeBytes }: WritableRootSpec): void {
    snapshotSubvolume(source.fd, directory.fd, 'root');
    if (sizeBytes === undefined) return;
    using root = open(`${directory.procPath}/root`, O.RDONLY | O.DIRECTORY);
    limitSubvolume(root.fd, 'exclusive', sizeBytes);
  }

  /** The subvolume that shows a set of layers, made at first use. */
  async #base(layers: readonly string[]): Promise<OwnedFd> {
    await fileCall(this.#bases, () => mkdir(this.#bases, { recursive: true, mode: 0o700 }));
    using bases = open(this.#bases, O.RDONLY | O.DIRECTORY);
    if (!isBtrfs(bases.fd))
      throw new UnavailableError('the btrfs driver', `${this.#bases} is not on btrfs`, 'Use the overlay driver');
    const name = createHash('sha256').update(layers.join('\0')).digest('hex');
    if (!existsSync(join(this.#bases, name))) await this.#makeBase(bases, layers, name);
    return open(join(this.#bases, name), O.RDONLY | O.DIRECTORY);
  }

  async #makeBase(bases: OwnedFd, layers: readonly string[], name: string): Promise<void> {
    // Two roots of the same layers may be made at once, here or by another process.
    const temporary = `${name}.${randomUUID()}.new`;
    using _ = await this.#createLocked(temporary);
    try {
      await flatten(layers, join(this.#bases, temporary));
      await rename(join(this.#bases, temporary), join(this.#bases, name));
    } catch (error) {
      destroySubvolume(bases.fd, temporary);
      // Made by somebody else meanwhile.
      if (!hasCode(error, 'ENOTEMPTY', 'EEXIST')) throw error;
    }
  }

  /** A subvolume to be filled by whoever holds its lock; one that nobody does was left by a maker that was killed, and goes. */
  async #createLocked(name: string): Promise<OwnedFd> {
    // For a moment: between its making and its locking it looks abandoned.
    using bases = open(this.#bases, O.RDONLY | O.DIRECTORY);
    while (!tryLock(bases.fd)) await sleep(1);
    for (const { name: other } of readDirectory(bases.fd)) {
      if (!other.endsWith('.new')) continue;
      const result = openAt(bases.fd, other, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
      if (result === -ERRNO.ENOENT) continue; // It is finished.
      using filling = new OwnedFd(check('openat', result, { path: other }));
      if (tryLock(filling.fd)) destroySubvolume(bases.fd, other);
    }
    createSubvolume(bases.fd, name);
    const made = open(join(this.#bases, name), O.RDONLY | O.DIRECTORY);
    tryLock(made.fd);
    return made;
  }
}
