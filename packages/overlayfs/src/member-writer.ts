import {
  check,
  closeFd,
  ERRNO,
  getXattr,
  O,
  openAt,
  readlinkAt,
  S,
  SEEK,
  type Stat,
  SYS,
  statAt,
  statFd,
  syscall,
} from '@ns/libc';
import { ArchiveError } from './archive-error.ts';
import { onlyOwn } from './compare-files.ts';
import {
  type FileType,
  fileType,
  inodeKey,
  isDevice,
  isDirectory,
  isRegular,
  isSocket,
  isSymlink,
  permissions,
} from './file-type.ts';
import { openRegular, openUnlessLeased } from './open-regular.ts';
import type { Owner } from './owner.ts';
import { assertSelfContained } from './self-contained.ts';
import { CHUNK, type TarChunks } from './tar-chunks.ts';
import { padding, TYPE, typeOfMode } from './tar-format.ts';
import { HeaderEncoder, type TarEntry } from './tar-header.ts';
import type { Steps } from './time-slices.ts';
import { join, type LayerEntry, type UnopenedFile } from './walk-layer.ts';
import { OPAQUE_MARKER, WHITEOUT_PREFIX } from './whiteouts.ts';
import { xattrNames, xattrNamesFd } from './xattr-names.ts';

/** What becomes a member. */
export type TarSource = LayerEntry | UnopenedFile;

/** What an archive is of: in a `layer` some names have a meaning. */
export interface TarKind {
  readonly kind: 'layer' | 'tree';
}

/** How members are written. */
export interface MemberOptions extends TarKind {
  /** Files that may not be read (EACCES) are left out. Default: they are an error. */
  readonly readableOnly?: boolean;
  /** Owner as it shall stand in the archive. Default: as it is. */
  readonly mapOwner?: (owner: Owner) => Owner;
}

/** Files up to this size are read at once. */
const SMALL = CHUNK;

/** Writes the members of an archive. What is done at once is not a generator: there are tens of thousands. */
export class MemberWriter {
  readonly #chunks: TarChunks;
  readonly #kind: TarKind['kind'];
  readonly #mapOwner: MemberOptions['mapOwner'];
  readonly #readableOnly: boolean;
  readonly #header = new HeaderEncoder();
  // First path of each file with several; only those are remembered.
  readonly #firstPaths = new Map<string, string>();

  constructor(chunks: TarChunks, { kind, mapOwner, readableOnly = false }: MemberOptions) {
    this.#chunks = chunks;
    this.#kind = kind;
    this.#mapOwner = mapOwner;
    this.#readableOnly = readableOnly;
  }

  /** @returns what is left to do for a large file */
  write(entry: TarSource): Steps<Buffer> | undefined {
    if (!entry.stat) return this.#file(entry);
    if (entry.whiteout) {
      this.#put(mark(join(entry.parent, WHITEOUT_PREFIX + entry.name)));
      return undefined;
    }
    if (isSocket(entry.stat)) return undefined;
    if (isRegular(entry.stat)) return this.#file(entry);
    const { dirFd, name, stat } = entry;
    const attributes = xattrNames(dirFd, name);
    if (this.#kind === 'layer') assertRepresentable(entry, fileType(stat.mode), attributes);
    const member = describe(entry.path, stat, this.#owner(stat));
    if (!isDirectory(stat) && this.#putLink(member, stat)) return undefined;
    this.#put({
      ...member,
      xattrs: readXattrs(entry, attributes),
      ...(isSymlink(stat) && { linkName: readlinkAt(dirFd, name) ?? '' }),
      ...(isDevice(stat) && { devMajor: stat.rdevMajor, devMinor: stat.rdevMinor }),
    });
    if (entry.opaque) this.#put(mark(join(entry.path, OPAQUE_MARKER)));
    return undefined;
  }

  #owner({ uid, gid }: Stat): Owner {
    return this.#mapOwner ? this.#mapOwner({ uid, gid }) : { uid, gid };
  }

  #put(entry: TarEntry): void {
    const length = this.#header.encode(entry);
    this.#chunks.copy(this.#header.bytes, length);
  }

  /** A further name of a file that is in the archive already; false when it is not. */
  #putLink(member: TarEntry, stat: Stat): boolean {
    if (stat.nlink < 2) return false;
    const first = this.#firstPaths.get(inodeKey(stat));
    if (first === undefined) this.#firstPaths.set(inodeKey(stat), member.path);
    else this.#put({ ...member, type: TYPE.HARD_LINK, linkName: first, size: 0 });
    return first !== undefined;
  }

  #file(entry: TarSource): Steps<Buffer> | undefined {
    const fd = open(entry);
    return fd === -ERRNO.EAGAIN ? this.#leased(entry) : this.#opened(entry, fd);
  }

  *#leased(entry: TarSource): Steps<Buffer> {
    const content = this.#opened(entry, yield* openUnlessLeased(() => open(entry)));
    if (content) yield* content;
  }

  #opened(entry: TarSource, fd: number): Steps<Buffer> | undefined {
    const { path, dirFd, name } = entry;
    if (fd === -ERRNO.ESTALE || (fd === -ERRNO.EACCES && this.#readableOnly)) return undefined;
    if (fd < 0) {
      // Gone since it was listed, or replaced by what is no file.
      const now = statAt(dirFd, name);
      if (!now || !isRegular(now)) return undefined;
    }
    check('openat', fd, { path, doing: `read ${path} for an archive` });
    let later = false;
    try {
      // What is open decides: the name may lead elsewhere by now.
      const stat = statFd(fd);
      if (!isRegular(stat)) return undefined;
      const attributes = xattrNamesFd(fd);
      if (this.#kind === 'layer') assertRepresentable(entry, 'file', attributes);
      const member = describe(path, stat, this.#owner(entry.stat ?? stat));
      if (this.#putLink(member, stat)) return undefined;
      this.#put(attributes.length === 0 ? member : { ...member, xattrs: readXattrs(entry, attributes) });
      if (stat.size <= SMALL) {
        this.#small(fd, stat.size);
        return undefined;
      }
      later = true;
      return this.#large(fd, stat);
    } finally {
      if (!later) closeFd(fd);
    }
  }

  #small(fd: number, size: number): void {
    const chunks = this.#chunks;
    for (let position = 0; position < size; ) {
      const count = read(fd, chunks, size - position, position);
      // The file is shorter than its header says: what is missing becomes a hole.
      if (count === 0) chunks.skip(size - position);
      position += count === 0 ? size : count;
    }
    chunks.skip(padding(size));
  }

  *#large(fd: number, stat: Stat): Steps<Buffer> {
    const { size } = stat;
    const chunks = this.#chunks;
    const sparse = stat.blocks * 512 < size;
    let position = 0;
    let dataEnd = sparse ? 0 : size;
    try {
      while (position < size) {
        if (position >= dataEnd) {
          const next = syscall(SYS.lseek, fd, position, SEEK.DATA);
          // ENXIO: only a hole to the end.
          const dataStart = next < 0 ? size : Math.min(next, size);
          for (let hole = dataStart - position; hole > 0; ) {
            const length = Math.min(hole, chunks.room);
            chunks.advance(length);
            hole -= length;
            yield* chunks.takeFull();
          }
          position = dataStart;
          dataEnd =
            position < size
              ? Math.min(size, Math.max(position + 1, syscall(SYS.lseek, fd, position, SEEK.HOLE)))
              : size;
          continue;
        }
        const count = read(fd, chunks, dataEnd - position, position);
        // Shorter than its header says, as above.
        if (count === 0) dataEnd = position;
        position += count;
        yield* chunks.takeFull();
      }
      chunks.skip(padding(size));
    } finally {
      closeFd(fd);
    }
  }
}

function open({ stat, dirFd, name }: TarSource): number {
  // Who was not looked at is on a mount that opens no device; a FIFO would wait for somebody who writes.
  return stat ? openRegular(dirFd, name) : openAt(dirFd, name, O.RDONLY | O.NOFOLLOW | O.NONBLOCK);
}

/** Reads as much as there is room for in the chunk. */
function read(fd: number, chunks: TarChunks, length: number, position: number): number {
  const count = check(
    'pread64',
    syscall(SYS.pread64, fd, chunks.address, Math.min(chunks.room, length), position),
    reading,
  );
  chunks.advance(count);
  return count;
}

const reading = { doing: 'read a file for an archive' };

/** Whiteouts are nobody's and of no time. */
const mark = (path: string): TarEntry => ({
  path,
  type: TYPE.FILE,
  mode: 0o600,
  uid: 0,
  gid: 0,
  size: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
});

function describe(path: string, stat: Stat, { uid, gid }: Owner): TarEntry {
  const { mtimeSec, mtimeNsec } = stat;
  return {
    path,
    type: typeOfMode[stat.mode & S.IFMT]!,
    mode: permissions(stat),
    uid,
    gid,
    size: isRegular(stat) ? stat.size : 0,
    mtimeSec,
    mtimeNsec,
  };
}

/** Those that belong to the file, sorted. */
function readXattrs({ dirFd, name }: TarSource, attributes: readonly string[]): Map<string, Buffer> {
  const xattrs = new Map<string, Buffer>();
  for (const attribute of onlyOwn(attributes)) {
    const value = getXattr(dirFd, name, attribute);
    if (value) xattrs.set(attribute, value);
  }
  return xattrs;
}

function assertRepresentable({ path, name }: TarSource, type: FileType, attributes: readonly string[]): void {
  assertSelfContained(path, type, attributes);
  if (name.startsWith(WHITEOUT_PREFIX)) {
    const hint = 'Remove or rename the file, or leave it out with exclude';
    throw new ArchiveError('ERR_NS_UNREPRESENTABLE', 'in an OCI layer this name would delete another file', {
      path,
      hint,
    });
  }
}
