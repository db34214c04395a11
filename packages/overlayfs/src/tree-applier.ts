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
  S,
  type Stat,
  statAt,
  unlinkAt,
} from '@ns/libc';
import { Branch } from './branch.ts';
import { ownXattrs } from './compare-files.ts';
import { openChildDirectory } from './directory-place.ts';
import { FileCopier } from './file-copier.ts';
import {
  applyMetadata,
  applyTimes,
  type Metadata,
  type OwnershipPolicy,
  type PrivilegePolicy,
  readXattrs,
  removeInheritedAcls,
  removeOtherXattrs,
  type Skipped,
} from './file-metadata.ts';
import { inodeKey, isDevice, isDirectory, isSocket } from './file-type.ts';
import type { Owner } from './owner.ts';
import { removeTree } from './remove-tree.ts';
import type { Steps } from './time-slices.ts';
import { UnsafePathError } from './unsafe-path-error.ts';
import { join, type LayerEntry } from './walk-layer.ts';

/** What a {@link TreeApplier} may do. */
export interface ApplyPolicy {
  /** By absolute path. */
  readonly select: (path: string) => boolean;
  readonly ownership: OwnershipPolicy;
  readonly privileges: PrivilegePolicy;
  readonly mapOwner: (owner: Owner) => Owner;
  /** A directory where a file shall be, or the reverse. */
  readonly kindConflict: 'replace' | 'refuse';
}

interface WayDirectory extends LayerEntry {
  readonly selected: boolean;
}

const FILE_CAPABILITIES = 'security.capability';
/** S_ISUID, S_ISGID. */
const SET_IDS = 0o6000;

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/**
 * Puts the entries of a depth-first walk into a tree that is in use, one rename(2) each. An entry's `dirFd` and `name` say where it is
 * taken from, its `path` where it goes.
 */
export class TreeApplier implements Disposable {
  readonly #root: OwnedFd;
  readonly #branch: Branch;
  readonly #policy: ApplyPolicy;
  readonly #copier = new FileCopier();
  /** The directories that lead to where the walk is. */
  readonly #way: WayDirectory[] = [];
  /** Where the first of a file's names went. */
  readonly #firstPaths = new Map<string, string>();
  readonly #nonce = randomBytes(6).toString('hex');
  #counter = 0;
  #written = 0;
  #deleted = 0;
  readonly #skipped: Skipped[] = [];

  /** @param root - stays the caller's */
  constructor(root: OwnedFd, policy: ApplyPolicy) {
    this.#root = root;
    this.#branch = new Branch(root);
    this.#policy = policy;
  }

  get result(): { written: number; deleted: number; skipped: readonly Skipped[] } {
    return { written: this.#written, deleted: this.#deleted, skipped: this.#skipped };
  }

  /** The next entry of the walk. */
  *take(entry: LayerEntry): Steps<never> {
    const { path, stat } = entry;
    this.#leaveTo(path);
    const selected = this.#policy.select(`/${path}`);
    if (entry.whiteout) {
      if (selected) yield* this.#delete(entry.parent, nameOf(path));
    } else if (isDirectory(stat)) {
      // Below an opaque directory everything is: what was made anew there has no mark of its own.
      const opaque = entry.opaque || (this.#way.at(-1)?.opaque ?? false);
      if (selected) yield* this.#directory(entry);
      if (opaque) yield* this.#hide(entry);
      this.#way.push({ ...entry, opaque, selected });
    } else if (selected && isDevice(stat) && this.#policy.privileges === 'drop') this.#skip(path, 'device');
    else if (selected && !isSocket(stat)) yield* this.#file(entry);
    yield undefined;
  }

  /** After the last entry. */
  finish(): void {
    this.#leaveTo('');
  }

  /** What was put into a directory has changed its times. */
  #leaveTo(next: string): void {
    for (let top = this.#way.at(-1); top && !next.startsWith(`${top.path}/`); top = this.#way.at(-1)) {
      this.#way.pop();
      const dirFd = top.selected ? this.#reachable(top.path) : undefined;
      if (dirFd !== undefined) applyTimes(dirFd, '.', top.path, top.stat);
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
    const target = this.#reachable(path);
    if (target === undefined) return;
    const present = new Set(namesIn(dirFd, name));
    for (const other of namesIn(target, '.')) {
      if (!present.has(other) && this.#policy.select(`/${join(path, other)}`)) yield* this.#delete(path, other);
    }
  }

  /** What is in the way of a directory that was not selected is left alone, and nothing is below it. */
  #reachable(path: string): number | undefined {
    try {
      return this.#branch.enter(path);
    } catch (error) {
      if (error instanceof UnsafePathError) return undefined;
      throw error;
    }
  }

  *#directory(entry: LayerEntry): Steps<never> {
    const { path, parent } = entry;
    const name = nameOf(path);
    const dirFd = this.#enter(parent);
    const there = statAt(dirFd, name);
    if (there && !isDirectory(there)) this.#assertReplaceable(path, 'a file or link stands where a directory shall be');
    this.#written++;
    if (there && isDirectory(there)) {
      removeOtherXattrs(dirFd, name, path, new Set(ownXattrs(entry.dirFd, entry.name)));
      this.#describe(entry, dirFd, name);
      return;
    }
    const made = there ? this.#temporary() : name;
    check('mkdirat', mkdirAt(dirFd, made, 0o700), { path });
    removeInheritedAcls(dirFd, made, path);
    this.#describe(entry, dirFd, made);
    if (there) yield* this.#exchange(dirFd, made, name, path);
  }

  *#file(entry: LayerEntry): Steps<never> {
    const { path, parent, stat } = entry;
    const name = nameOf(path);
    const dirFd = this.#enter(parent);
    const temporary = this.#temporary();
    let isLeft = true;
    try {
      if (!this.#linked(stat, dirFd, temporary)) {
        yield* this.#copier.copy(entry.dirFd, entry.name, stat, dirFd, temporary);
        removeInheritedAcls(dirFd, temporary, path);
        this.#describe(entry, dirFd, temporary);
      }
      const renamed = renameAt(dirFd, temporary, dirFd, name);
      if (renamed === -ERRNO.EISDIR) {
        this.#assertReplaceable(path, 'a directory stands where a file shall be');
        this.#branch.leave(path);
        yield* this.#exchange(dirFd, temporary, name, path);
      } else check('renameat2', renamed, { path });
      // rename(2) leaves it when both are names of one file.
      isLeft = stat.nlink > 1;
    } finally {
      if (isLeft) unlinkAt(dirFd, temporary);
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
      removeInheritedAcls(dirFd, step.name, step.path);
      this.#skipped.push(
        ...applyMetadata(
          dirFd,
          step.name,
          step.path,
          { ...this.#owned(step.stat), xattrs: [] },
          this.#policy.ownership,
        ),
      );
    }
    const made = this.#branch.enter(path);
    if (made === undefined) throw new UnsafePathError(`/${path}`, 'the directory vanished while changes were applied');
    return made;
  }

  #describe({ dirFd, name, path, stat }: LayerEntry, toDirFd: number, toName: string): void {
    const metadata = this.#allowed(path, { ...this.#owned(stat), xattrs: readXattrs(dirFd, name) });
    this.#skipped.push(...applyMetadata(toDirFd, toName, path, metadata, this.#policy.ownership));
  }

  #allowed<File extends Metadata>(path: string, file: File): File {
    if (this.#policy.privileges === 'keep' || (file.mode & S.IFMT) === S.IFDIR) return file;
    const xattrs = [...file.xattrs].filter(
      ([attribute]) => attribute !== FILE_CAPABILITIES || this.#skip(path, attribute),
    );
    if ((file.mode & SET_IDS) === 0) return { ...file, xattrs };
    this.#skip(path, 'mode');
    return { ...file, xattrs, mode: file.mode & ~SET_IDS };
  }

  /** @returns false */
  #skip(path: string, what: string): false {
    this.#skipped.push({ path, what, reason: 'EPERM' });
    return false;
  }

  #owned(stat: Stat): Stat {
    return { ...stat, ...this.#policy.mapOwner({ uid: stat.uid, gid: stat.gid }) };
  }

  #assertReplaceable(path: string, why: string): void {
    if (this.#policy.kindConflict === 'refuse') throw new UnsafePathError(`/${path}`, why, 'Remove it first');
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
  if (fd === -ERRNO.ENOENT) return [];
  check('openat', fd, { path: name });
  const names = readDirectory(fd).map((entry) => entry.name);
  closeFd(fd);
  return names;
}
