import {
  check,
  closeFd,
  ERRNO,
  linkAt,
  mkdirAt,
  mknodAt,
  O,
  type OwnedFd,
  openAt,
  readDirectory,
  S,
  SyscallError,
  setXattr,
  statAt,
  symlinkAt,
} from '@ns/libc';
import { resolveInRoot } from '@ns/mounts';
import { ArchiveError } from './archive-error.ts';
import { openChildDirectory } from './directory-place.ts';
import { applyMetadata, applyXattrsAndTimes, type OwnershipPolicy, removeAcls, type Skipped } from './file-metadata.ts';
import { isDirectory } from './file-type.ts';
import { NewFileMetadata } from './new-file-metadata.ts';
import { markForAnyMount } from './overlay-xattrs.ts';
import type { Owner } from './owner.ts';
import { removeTreeNow } from './remove-tree.ts';
import { SparseWriter } from './sparse-writer.ts';
import { TYPE } from './tar-format.ts';
import type { TarMember, TarSink } from './tar-reader.ts';
import type { Steps } from './time-slices.ts';
import { UnpackedDirectories } from './unpacked-directories.ts';
import { join } from './walk-layer.ts';
import {
  hiddenBy,
  isDeviceWhiteout,
  OLD_OPAQUE_MARKER,
  OPAQUE_MARKER,
  WHITEOUT_META_PREFIX,
  WHITEOUT_PREFIX,
} from './whiteouts.ts';

/** What whiteouts of an archive become on disk. */
export type WhiteoutTarget = 'delete' | 'overlay' | 'overlay-user' | 'overlay-any' | 'keep';

/** What {@link LayerUnpacker} has to know. */
export interface UnpackPolicy {
  readonly whiteouts: WhiteoutTarget;
  readonly ownership: OwnershipPolicy;
  readonly devices: 'make' | 'skip';
  readonly mapOwner?: (owner: Owner) => Owner;
  readonly maxBytes: number;
  readonly maxEntries: number;
}

const opaqueAttribute: Readonly<Partial<Record<WhiteoutTarget, string>>> = {
  overlay: 'trusted.overlay.opaque',
  'overlay-user': 'user.overlay.opaque',
  'overlay-any': 'opaque in either name space',
};

/** What has to be taken out of a path, or refused: `.`, `..`, empty names, and a NUL. */
const unclean = /(^|\/)(\.{0,2}(\/|$))|\0/;

/** A name in an archive without slashes at its ends, and nothing that leads up or hides a second name behind a NUL. */
function safePath(raw: string): string {
  if (!unclean.test(raw)) return raw;
  const parts = raw.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..') || raw.includes('\0')) {
    throw new ArchiveError('ERR_NS_UNSAFE_ARCHIVE', 'the path leads out of the archive', {
      path: raw,
      hint: 'Do not trust where this archive came from',
    });
  }
  return parts.join('/');
}

const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')));
const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** Turns members of an archive into files below a directory. */
export class LayerUnpacker implements TarSink, Disposable {
  readonly #root: OwnedFd;
  readonly #policy: UnpackPolicy;
  readonly #newFiles: NewFileMetadata;
  /** The directory of the member before: most are in the same one. */
  #parent: { readonly path: string; readonly fd: OwnedFd } | undefined;
  /** Paths of this archive and the directories above them: whiteouts mean only what was there before. */
  readonly #own = new Set<string>();
  /** Modes and times of directories are set when nothing more is put into them. */
  readonly #directories = new UnpackedDirectories();
  #file: { readonly fd: number; readonly writer: SparseWriter; readonly finish: () => void } | undefined;
  #entries = 0;
  #bytes = 0;
  #extensionBytes = 0;
  readonly #skipped: Skipped[] = [];
  /** Those of them that hard links may name, by path. */
  readonly #skippedDevices = new Map<string, Skipped>();

  /** @param root - stays the caller's */
  constructor(root: OwnedFd, policy: UnpackPolicy) {
    this.#root = root;
    this.#policy = policy;
    this.#newFiles = new NewFileMetadata(policy.ownership === 'keep');
  }

  get result(): { entries: number; bytes: number; skipped: readonly Skipped[] } {
    return { entries: this.#entries, bytes: this.#bytes, skipped: this.#skipped };
  }

  member(raw: TarMember): void {
    const { maxEntries } = this.#policy;
    const path = safePath(raw.path);
    const member = { ...raw, path, ...this.#policy.mapOwner?.({ uid: raw.uid, gid: raw.gid }) };
    this.#bytes += member.size;
    if (++this.#entries > maxEntries)
      throw new ArchiveError('ERR_NS_ARCHIVE_TOO_LARGE', `more than ${maxEntries} entries`, { path });
    this.#assertFits();
    const name = nameOf(path);
    if (path === '') this.#rootDirectory(member);
    else if (name.startsWith(WHITEOUT_PREFIX) && this.#policy.whiteouts !== 'keep') this.#whiteout(path, name);
    else this.#make(member, name);
  }

  extension(length: number): void {
    this.#extensionBytes += length;
    this.#assertFits();
  }

  #assertFits(): void {
    const { maxBytes } = this.#policy;
    if (this.#bytes + this.#extensionBytes > maxBytes)
      throw new ArchiveError('ERR_NS_ARCHIVE_TOO_LARGE', `more than ${maxBytes} bytes`);
  }

  content(bytes: Buffer): void {
    this.#file?.writer.write(bytes);
  }

  memberEnd(): void {
    const file = this.#file;
    if (!file) return;
    this.#file = undefined;
    try {
      file.writer.end();
      file.finish();
    } finally {
      closeFd(file.fd);
    }
  }

  /** After the last member. One step per directory. */
  *finish(): Steps<never> {
    for (const member of this.#directories.childrenFirst()) {
      yield undefined;
      const { path } = member;
      const name = nameOf(path) || '.';
      using parent = this.#resolve(parentOf(path));
      const stat = parent && statAt(parent.fd, name);
      if (!parent || !stat || !isDirectory(stat)) continue;
      this.#skipped.push(...applyMetadata(parent.fd, name, path, { ...member, xattrs: [] }, 'ignore'));
    }
  }

  #rootDirectory(member: TarMember): void {
    if (member.type !== TYPE.DIRECTORY)
      throw new ArchiveError('ERR_NS_UNSAFE_ARCHIVE', 'the archive replaces its own root', { path: member.path });
    this.#describe(this.#root.fd, '.', member);
    // It is entered anew: it may give its files other groups and ACLs now.
    this.#leave();
    this.#directories.add(member);
  }

  #make(member: TarMember, name: string): void {
    const { path, type } = member;
    const link = type === TYPE.HARD_LINK ? safePath(member.linkName) : undefined;
    // A link to itself: removing what is in the way would remove its target.
    if (link === path) return;
    const { fd: dirFd } = this.#enter(parentOf(path));
    const isDir = type === TYPE.DIRECTORY;
    // Most members are files where nothing is yet: no need to look first.
    if (link === undefined && !isDir && (member.mode & S.IFMT) === S.IFREG && this.#tryFile(dirFd, name, member)) {
      this.#claim(path);
      return;
    }
    const there = statAt(dirFd, name);
    const hidesLower = there !== undefined && this.#policy.whiteouts !== 'keep' && isDeviceWhiteout(there);
    this.#claim(path);
    if (there && !(isDir && isDirectory(there))) this.#remove(dirFd, name, path);
    if (link !== undefined) this.#hardLink(dirFd, name, path, link);
    else if (isDir) {
      if (!there || !isDirectory(there)) {
        check('mkdirat', mkdirAt(dirFd, name, 0o700), { path });
        this.#removeAcls(dirFd, name, path);
      }
      this.#describe(dirFd, name, member);
      this.#directories.add(member);
      // A directory in place of what this layer deletes below does not show what was in that.
      const attribute = hidesLower ? opaqueAttribute[this.#policy.whiteouts] : undefined;
      if (attribute !== undefined) this.#mark(dirFd, name, path, attribute);
    } else if (type === TYPE.SYMLINK) {
      check('symlinkat', symlinkAt(member.linkName, dirFd, name), { path, dest: member.linkName });
      this.#describe(dirFd, name, member);
    } else if ((member.mode & S.IFMT) === S.IFREG) this.#openFile(dirFd, name, member);
    else this.#node(dirFd, name, member);
  }

  #openFile(dirFd: number, name: string, member: TarMember): void {
    if (!this.#tryFile(dirFd, name, member)) check('openat', -ERRNO.EEXIST, { path: member.path });
  }

  /** False when there is something already. */
  #tryFile(dirFd: number, name: string, member: TarMember): boolean {
    // O_EXCL: nothing that was put there meanwhile is written to, nor followed.
    const { path } = member;
    const fd = openAt(dirFd, name, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, this.#newFiles.modeFor(member));
    if (fd === -ERRNO.EEXIST) return false;
    check('openat', fd, { path });
    this.#file = { fd, writer: new SparseWriter(fd), finish: () => this.#describe(fd, '', member) };
    this.#removeAcls(fd, '', path);
    if (this.#newFiles.isRight(fd, member, path))
      this.#file = { ...this.#file, finish: () => this.#skipped.push(...applyXattrsAndTimes(fd, '', path, member)) };
    return true;
  }

  #node(dirFd: number, name: string, { path, mode, devMajor, devMinor, ...rest }: TarMember): void {
    if (this.#policy.devices === 'skip' && (mode & S.IFMT) !== S.IFIFO) {
      this.#skipDevice({ path, what: 'device', reason: 'EPERM' });
      return;
    }
    const hint = "Device nodes need CAP_MKNOD in the initial user namespace; use devices: 'skip'";
    check('mknodat', mknodAt(dirFd, name, (mode & S.IFMT) | 0o600, devMajor, devMinor), { path, hint });
    this.#removeAcls(dirFd, name, path);
    this.#describe(dirFd, name, { path, mode, devMajor, devMinor, ...rest });
  }

  #hardLink(dirFd: number, name: string, path: string, target: string): void {
    using parent = this.#resolve(parentOf(target));
    // linkat(2) without AT_SYMLINK_FOLLOW takes the name itself, be it a link.
    const result = parent ? linkAt(parent.fd, nameOf(target), dirFd, name) : -ERRNO.ENOENT;
    if (result === -ERRNO.ENOENT) {
      const left = this.#skippedDevices.get(target);
      if (left) {
        this.#skipDevice({ ...left, path });
        return;
      }
      throw new ArchiveError('ERR_NS_BAD_ARCHIVE', `a hard link to ${JSON.stringify(target)}, which is not there`, {
        path,
      });
    }
    check('linkat', result, { path: target, dest: path });
  }

  #skipDevice(skipped: Skipped): void {
    this.#skipped.push(skipped);
    this.#skippedDevices.set(skipped.path, skipped);
  }

  #whiteout(path: string, name: string): void {
    const directory = parentOf(path);
    if (name === OPAQUE_MARKER) this.#opaque(directory);
    // Other names of AUFS's own mean nothing to anybody else.
    if (name.startsWith(WHITEOUT_META_PREFIX) || name === OLD_OPAQUE_MARKER) return;
    const hidden = hiddenBy(name);
    if (hidden === undefined)
      throw new ArchiveError('ERR_NS_UNSAFE_ARCHIVE', 'a whiteout of a directory or its parent', { path });
    const target = join(directory, hidden);
    const attribute = opaqueAttribute[this.#policy.whiteouts];
    if (attribute === undefined) {
      using parent = this.#own.has(target) ? undefined : this.#resolve(directory);
      if (parent) this.#remove(parent.fd, hidden, target);
      return;
    }
    const { fd } = this.#enter(directory);
    const there = statAt(fd, hidden);
    if (!there) check('mknodat', mknodAt(fd, hidden, S.IFCHR, 0, 0), { path });
    else if (isDirectory(there)) this.#mark(fd, hidden, target, attribute);
  }

  #opaque(directory: string): void {
    const attribute = opaqueAttribute[this.#policy.whiteouts];
    if (attribute === undefined) this.#deleteBelow(directory);
    else this.#mark(this.#enter(directory).fd, '.', directory, attribute);
  }

  /** What an opaque directory hides: all that this archive has not put there. */
  #deleteBelow(directory: string): void {
    if (!this.#directories.markEmptied(directory)) return;
    using parent = this.#resolve(directory);
    const fd = parent ? openChildDirectory(parent.fd, '.') : -1;
    if (!parent || fd < 0) return;
    const names = readDirectory(fd).map((entry) => entry.name);
    closeFd(fd);
    for (const name of names) {
      const path = join(directory, name);
      const there = statAt(parent.fd, name);
      if (!this.#own.has(path)) this.#remove(parent.fd, name, path);
      else if (there && isDirectory(there)) this.#deleteBelow(path);
    }
  }

  #mark(dirFd: number, name: string, path: string, attribute: string): void {
    if (this.#policy.whiteouts === 'overlay-any') {
      markForAnyMount(dirFd, name, path, 'opaque', Buffer.from('y'));
      return;
    }
    const hint =
      "Opaque directories need CAP_SYS_ADMIN for trusted.*; use whiteouts: 'overlay-user' and mount with userxattr";
    check('setxattr', setXattr(dirFd, name, attribute, Buffer.from('y')), { path, args: { attribute }, hint });
  }

  /** What a new file has from its directory's default ACL, and the archive does not say. */
  #removeAcls(dirFd: number, name: string, path: string): void {
    if (this.#newFiles.givesAcls) removeAcls(dirFd, name, path);
  }

  #describe(dirFd: number, name: string, member: TarMember): void {
    this.#skipped.push(
      ...applyMetadata(
        dirFd,
        name,
        member.path,
        member.type === TYPE.DIRECTORY ? { ...member, mode: member.mode | 0o700 } : member,
        this.#policy.ownership,
      ),
    );
  }

  #remove(dirFd: number, name: string, path: string): void {
    removeTreeNow(dirFd, name);
    this.#directories.remove(path);
    // What is kept open may have been removed, but for the directory this was removed from.
    if (this.#parent?.path !== parentOf(path)) this.#leave();
  }

  #claim(path: string): void {
    if (this.#policy.whiteouts !== 'delete') return;
    for (let at = path; at !== '' && !this.#own.has(at); at = parentOf(at)) this.#own.add(at);
  }

  /** A directory of the archive, made where it is missing. Stays open until the next one is asked for. */
  #enter(path: string): OwnedFd {
    if (this.#parent?.path === path) return this.#parent.fd;
    this.#leave();
    const fd = resolveInRoot(this.#root.fd, path, { create: 'directory' });
    this.#parent = { path, fd };
    this.#newFiles.enter(fd.fd);
    return fd;
  }

  #leave(): void {
    this.#parent?.fd.close();
    this.#parent = undefined;
  }

  #resolve(path: string): OwnedFd | undefined {
    try {
      return resolveInRoot(this.#root.fd, path);
    } catch (error) {
      if (error instanceof SyscallError && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return undefined;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    if (this.#file) closeFd(this.#file.fd);
    this.#file = undefined;
    this.#leave();
  }
}
