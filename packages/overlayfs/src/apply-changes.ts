import { randomBytes } from 'node:crypto';
import {
  check,
  closeFd,
  ERRNO,
  linkAt,
  mkdirAt,
  type OwnedFd,
  RENAME,
  readDirectory,
  renameAt,
  type Stat,
  statAt,
  unlinkAt,
} from '@ns/libc';
import { Branch } from './branch.ts';
import { ownXattrs } from './compare-files.ts';
import { type DirectoryPlace, openChildDirectory, openDirectory } from './directory-place.ts';
import { FileCopier } from './file-copier.ts';
import { applyMetadata, type OwnershipPolicy, readXattrs, removeOtherXattrs, type Skipped } from './file-metadata.ts';
import { inodeKey, isDirectory, isSocket } from './file-type.ts';
import { removeTree } from './remove-tree.ts';
import { assertSelfContained } from './self-contained.ts';
import type { Owner } from './tar-stream.ts';
import { drain, type Steps } from './time-slices.ts';
import { UnsafePathError } from './unsafe-path-error.ts';
import { join, type LayerEntry, walkLayer } from './walk-layer.ts';
import type { WhiteoutForm } from './whiteouts.ts';

/** How {@link applyChanges} accepts changes. */
export interface ApplyChangesOptions {
  /** Which paths (absolute, as in a {@link Change}) to accept. Default: all. Directories an accepted path needs are made. */
  readonly select?: (path: string) => boolean;
  /** Default `keep` as root, `ignore` otherwise. */
  readonly ownership?: OwnershipPolicy;
  readonly mapOwner?: (owner: Owner) => Owner;
  readonly whiteouts?: WhiteoutForm;
  readonly signal?: AbortSignal;
}

/** What was done to the target. */
export interface AppliedChanges {
  readonly written: number;
  readonly deleted: number;
  readonly skipped: readonly Skipped[];
}

/**
 * Makes a tree like the result of a sandbox: carries out what {@link diffLayer} lists. Each file is written under a temporary name and
 * put in place with one rename(2), so whoever reads the tree sees the old file or the new one; a directory that goes
 * vanishes at once and is emptied after. Every step goes from a directory's descriptor to one of its names: a link in the target, planted before or meanwhile, is
 * replaced where the change says so and otherwise stops the work, but is never followed.
 *
 * @param upper - the changes; nothing should write to it
 * @param target - the tree to change, `/` itself included
 * @throws UnsafePathError a link or file stands in the target where an accepted change needs a directory; what was done until then remains
 */
export async function applyChanges(
  upper: DirectoryPlace,
  target: DirectoryPlace,
  options: ApplyChangesOptions = {},
): Promise<AppliedChanges> {
  using from = openDirectory(upper);
  using to = openDirectory(target);
  using applier = new ChangeApplier(to, options);
  await drain(applier.run(from, options.whiteouts ?? 'overlay'), () => {}, options.signal);
  return applier.result;
}

class ChangeApplier implements Disposable {
  readonly #branch: Branch;
  readonly #select: (path: string) => boolean;
  readonly #ownership: OwnershipPolicy;
  readonly #mapOwner: ((owner: Owner) => Owner) | undefined;
  readonly #copier = new FileCopier();
  readonly #root: OwnedFd;
  /** Directories of the upper that lead to where the walk is. */
  readonly #way: LayerEntry[] = [];
  /** Where the first of a file's names went. */
  readonly #firstPaths = new Map<string, string>();
  readonly #nonce = randomBytes(6).toString('hex');
  #counter = 0;
  #written = 0;
  #deleted = 0;
  readonly #skipped: Skipped[] = [];

  constructor(root: OwnedFd, options: ApplyChangesOptions) {
    this.#root = root;
    this.#branch = new Branch(root);
    this.#select = options.select ?? (() => true);
    this.#ownership = options.ownership ?? (process.geteuid?.() === 0 ? 'keep' : 'ignore');
    this.#mapOwner = options.mapOwner;
  }

  get result(): AppliedChanges {
    return { written: this.#written, deleted: this.#deleted, skipped: this.#skipped };
  }

  *run(from: OwnedFd, whiteouts: WhiteoutForm): Steps<never> {
    for (const entry of walkLayer(from, { whiteouts })) {
      const { path, stat } = entry;
      while (this.#way.length > 0 && !path.startsWith(`${this.#way.at(-1)!.path}/`)) this.#way.pop();
      assertSelfContained(entry);
      const selected = this.#select(`/${path}`);
      if (entry.whiteout) {
        if (selected) yield* this.#delete(entry.parent, entry.name);
      } else if (isDirectory(stat)) {
        if (selected) yield* this.#directory(entry);
        if (entry.opaque) yield* this.#hide(entry);
        this.#way.push(entry);
      } else if (selected && !isSocket(stat)) yield* this.#file(entry);
      yield undefined;
    }
  }

  *#delete(parent: string, name: string): Steps<never> {
    const dirFd = this.#branch.enter(parent);
    if (dirFd === undefined || !statAt(dirFd, name)) return;
    this.#branch.leave(join(parent, name));
    const aside = this.#temporary();
    check('renameat2', renameAt(dirFd, name, dirFd, aside), { path: join(parent, name) });
    this.#deleted++;
    yield* removeTree(dirFd, aside);
  }

  /** An opaque directory is all there is: what the target has beside it goes. */
  *#hide({ path, dirFd, name }: LayerEntry): Steps<never> {
    const target = this.#branch.enter(path);
    if (target === undefined) return;
    const present = new Set(namesIn(dirFd, name));
    for (const other of namesIn(target, '.')) {
      if (!present.has(other) && this.#select(`/${join(path, other)}`)) yield* this.#delete(path, other);
    }
  }

  *#directory(entry: LayerEntry): Steps<never> {
    const { path, parent, name } = entry;
    const dirFd = this.#enter(parent);
    const there = statAt(dirFd, name);
    this.#written++;
    if (there && isDirectory(there)) {
      removeOtherXattrs(dirFd, name, path, new Set(ownXattrs(entry.dirFd, entry.name)));
      this.#describe(entry, dirFd, name);
      return;
    }
    const made = there ? this.#temporary() : name;
    check('mkdirat', mkdirAt(dirFd, made, 0o700), { path });
    this.#describe(entry, dirFd, made);
    if (there) yield* this.#exchange(dirFd, made, name, path);
  }

  *#file(entry: LayerEntry): Steps<never> {
    const { path, parent, name, stat } = entry;
    const dirFd = this.#enter(parent);
    const temporary = this.#temporary();
    try {
      if (!this.#linked(stat, dirFd, temporary)) {
        yield* this.#copier.copy(entry.dirFd, name, stat, dirFd, temporary);
        this.#describe(entry, dirFd, temporary);
      }
      const there = statAt(dirFd, name);
      if (there && isDirectory(there)) {
        this.#branch.leave(path);
        yield* this.#exchange(dirFd, temporary, name, path);
      } else check('renameat2', renameAt(dirFd, temporary, dirFd, name), { path });
    } finally {
      // After a failure; and rename(2) leaves it when both are names of one file.
      unlinkAt(dirFd, temporary);
    }
    this.#written++;
    if (stat.nlink > 1) this.#firstPaths.set(inodeKey(stat), path);
  }

  /** Gives the target a further name of a file it has got already. */
  #linked(stat: Stat, dirFd: number, temporary: string): boolean {
    const first = stat.nlink > 1 ? this.#firstPaths.get(inodeKey(stat)) : undefined;
    if (first === undefined) return false;
    using branch = new Branch(this.#root);
    const slash = first.lastIndexOf('/');
    const firstDirFd = branch.enter(first.slice(0, Math.max(0, slash)));
    return firstDirFd !== undefined && linkAt(firstDirFd, first.slice(slash + 1), dirFd, temporary) === 0;
  }

  /** One rename(2) puts the new thing in the place of the old, which is then removed. */
  *#exchange(dirFd: number, made: string, name: string, path: string): Steps<never> {
    check('renameat2', renameAt(dirFd, made, dirFd, name, RENAME.EXCHANGE), { path });
    yield* removeTree(dirFd, made);
  }

  /** The directory of the target, made like the upper's where it is missing because it was not selected. */
  #enter(path: string): number {
    const found = this.#branch.enter(path);
    if (found !== undefined) return found;
    for (const step of this.#way) {
      if (this.#branch.enter(step.path) !== undefined) continue;
      const dirFd = this.#branch.enter(step.parent)!;
      check('mkdirat', mkdirAt(dirFd, step.name, 0o700), { path: step.path });
      this.#skipped.push(
        ...applyMetadata(dirFd, step.name, step.path, { ...this.#owned(step.stat), xattrs: [] }, this.#ownership),
      );
    }
    const made = this.#branch.enter(path);
    if (made === undefined) throw new UnsafePathError(`/${path}`, 'the directory vanished while changes were applied');
    return made;
  }

  #describe({ dirFd, name, path, stat }: LayerEntry, toDirFd: number, toName: string): void {
    const metadata = { ...this.#owned(stat), xattrs: readXattrs(dirFd, name) };
    this.#skipped.push(...applyMetadata(toDirFd, toName, path, metadata, this.#ownership));
  }

  #owned(stat: Stat): Stat {
    return { ...stat, ...this.#mapOwner?.({ uid: stat.uid, gid: stat.gid }) };
  }

  #temporary(): string {
    return `.ns-apply-${this.#nonce}-${this.#counter++}`;
  }

  [Symbol.dispose](): void {
    this.#branch[Symbol.dispose]();
  }
}

function namesIn(dirFd: number, name: string): string[] {
  const fd = openChildDirectory(dirFd, name);
  if (fd === -ERRNO.ENOENT!) return [];
  check('openat', fd, { path: name });
  const names = readDirectory(fd).map((entry) => entry.name);
  closeFd(fd);
  return names;
}
