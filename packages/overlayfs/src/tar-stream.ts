import { Readable } from 'node:stream';
import {
  allocate,
  check,
  closeFd,
  ERRNO,
  getXattr,
  listXattrs,
  listXattrsFd,
  O,
  openAt,
  readlinkAt,
  S,
  type Stat,
  SYS,
  statAt,
  statFd,
  syscall,
} from '@ns/libc';
import { ArchiveError } from './archive-error.ts';
import { onlyOwn } from './compare-files.ts';
import { openToRead } from './device-free-root.ts';
import type { DirectoryPlace } from './directory-place.ts';
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
import { openRegular } from './open-regular.ts';
import { assertSelfContained } from './self-contained.ts';
import { BLOCK, padding, TYPE, typeOfMode } from './tar-format.ts';
import { HeaderEncoder, type TarEntry } from './tar-header.ts';
import { inSlices, type Steps } from './time-slices.ts';
import { join, type LayerEntry, type UnopenedFile, type WalkOptions, walkLayer } from './walk-layer.ts';
import { type StackedLayer, walkStack } from './walk-stack.ts';
import { OPAQUE_MARKER, WHITEOUT_PREFIX, type WhiteoutForm } from './whiteouts.ts';

/** Ids of a file's owner. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** How a tree is written down. */
export interface TarOptions {
  /** Owner as it shall stand in the archive: translate from the host's ids to the container's. Default: as it is. */
  readonly mapOwner?: (owner: Owner) => Owner;
  /** Paths (without leading slash) to leave out, with all below. */
  readonly exclude?: (path: string) => boolean;
  readonly signal?: AbortSignal;
}

const CHUNK = 256 * 1024;
/** Files up to this size are read at once. */
const SMALL = CHUNK;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** The output in chunks of one size. Fresh memory is zero, which holes and padding rely on. */
class Chunks {
  #memory = allocate(CHUNK);
  #used = 0;
  #full: Buffer[] = [];

  get room(): number {
    return CHUNK - this.#used;
  }

  /** Address of the free part. */
  get address(): number {
    return this.#memory.address + this.#used;
  }

  /** Counts bytes as written, which may be no more than there is room for; holes are just counted. */
  advance(length: number): void {
    this.#used += length;
    if (this.#used < CHUNK) return;
    this.#full.push(this.#memory.bytes);
    this.#memory = allocate(CHUNK);
    this.#used = 0;
  }

  copy(bytes: Buffer, length: number): void {
    for (let done = 0; done < length; ) {
      const copied = bytes.copy(this.#memory.bytes, this.#used, done, Math.min(length, done + this.room));
      this.advance(copied);
      done += copied;
    }
  }

  skip(length: number): void {
    for (let rest = length; rest > 0; ) {
      const skipped = Math.min(rest, this.room);
      this.advance(skipped);
      rest -= skipped;
    }
  }

  get hasFull(): boolean {
    return this.#full.length > 0;
  }

  takeFull(): Buffer[] {
    return this.#full.splice(0);
  }

  takeRest(): Buffer {
    return this.#memory.bytes.subarray(0, this.#used);
  }
}

/**
 * A layer as an OCI layer archive: whiteouts and opaque directories of overlayfs become `.wh.` names, its private attributes are
 * left out; everything else is exact: owners, modes, nanosecond times, attributes as bytes, hard links, devices, sizes over
 * 8 GiB. Order and headers depend on the content alone, so the same layer has the same digest everywhere.
 * Sockets are left out, as by every archiver; holes of sparse files are written as zeros, unread.
 *
 * @param upper - nothing should write to it meanwhile; a file that shrinks is filled with zeros
 * Privilege: reading `trusted.*` attributes needs CAP_SYS_ADMIN in the initial user namespace.
 *
 * @throws ArchiveError ERR_NS_UNREPRESENTABLE in the stream: a file called `.wh.…`, or a layer made with metacopy or redirect_dir
 *
 * @example
 * ```ts
 * const chunks: Buffer[] = [];
 * for await (const chunk of diffStream('/scratch/upper')) chunks.push(chunk);
 * ```
 */
export function diffStream(upper: DirectoryPlace, options: TarOptions & { whiteouts?: WhiteoutForm } = {}): Readable {
  return archive(upper, { whiteouts: options.whiteouts ?? 'overlay' }, options);
}

/**
 * What a stack of layers shows, as a tar archive, without mounting them: reading them is all the privilege it takes.
 *
 * @param layers - topmost first, in overlayfs's form
 */
export function stackStream(layers: readonly StackedLayer[], options: TarOptions = {}): Readable {
  return tarStream(() => walkStack(layers), { ...options, kind: 'tree' });
}

/**
 * Any tree as a tar archive, as exact as {@link diffStream}; names and device numbers have no special meaning. Privilege: that
 * of the files.
 *
 * @param options - `crossMounts`: with what is mounted below. Default: mount points are in it, empty
 *
 * @example
 * ```ts
 * await applyLayer(treeStream('/srv/data'), '/srv/copy');
 * ```
 */
export function treeStream(root: DirectoryPlace, options: TarOptions & { crossMounts?: boolean } = {}): Readable {
  return archive(root, { whiteouts: 'none', crossMounts: options.crossMounts ?? false }, options);
}

function archive(place: DirectoryPlace, walk: WalkOptions, options: TarOptions): Readable {
  return tarStream(
    function* () {
      using root = openToRead(place, walk.crossMounts ?? false);
      yield* root.deviceFree
        ? walkLayer(root.directory, { ...walk, unopenedFiles: true })
        : walkLayer(root.directory, walk);
    },
    { ...options, kind: walk.whiteouts === 'none' ? 'tree' : 'layer' },
  );
}

/** What becomes a member. */
type TarSource = LayerEntry | UnopenedFile;

/** What {@link tarStream} writes: in a `layer` some names have a meaning. */
export interface TarKind {
  readonly kind: 'layer' | 'tree';
}

/** An archive of the entries of a walk, made while it is read. `undefined` entries are places to breathe. */
export function tarStream(entries: () => Generator<TarSource | undefined>, options: TarOptions & TarKind): Readable {
  function* blocks(): Steps<Buffer> {
    yield* tarBlocks(entries(), options);
  }
  return Readable.from(inSlices(blocks(), options.signal), { objectMode: false, highWaterMark: CHUNK });
}

function* tarBlocks(entries: Generator<TarSource | undefined>, options: TarOptions & TarKind): Steps<Buffer> {
  const chunks = new Chunks();
  const members = new MemberWriter(chunks, options);
  const { exclude } = options;
  let excluded: string | undefined;
  const isExcluded = (path: string): boolean => {
    if (exclude === undefined) return false;
    if (excluded !== undefined && path.startsWith(excluded)) return true;
    excluded = exclude(path) ? `${path}/` : undefined;
    return excluded !== undefined;
  };

  for (const entry of entries) {
    if (entry && !isExcluded(entry.path)) {
      const content = members.write(entry);
      // Nearly all files are small and done by now.
      if (content) yield* content;
    }
    if (chunks.hasFull) yield* chunks.takeFull();
    else yield undefined;
  }
  // Two empty blocks end an archive.
  chunks.skip(2 * BLOCK);
  yield* chunks.takeFull();
  yield chunks.takeRest();
}

/** Writes the members of an archive. What is done at once is not a generator: there are tens of thousands. */
class MemberWriter {
  readonly #chunks: Chunks;
  readonly #kind: TarKind['kind'];
  readonly #mapOwner: TarOptions['mapOwner'];
  readonly #header = new HeaderEncoder();
  // First path of each file with several; only those are remembered.
  readonly #firstPaths = new Map<string, string>();

  constructor(chunks: Chunks, { kind, mapOwner }: TarOptions & TarKind) {
    this.#chunks = chunks;
    this.#kind = kind;
    this.#mapOwner = mapOwner;
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
    const attributes = listXattrs(dirFd, name);
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
    const { path, dirFd, name } = entry;
    // Who was not looked at is on a mount that opens no device; a FIFO would wait for somebody who writes.
    const fd = entry.stat ? openRegular(dirFd, name) : openAt(dirFd, name, O.RDONLY | O.NOFOLLOW | O.NONBLOCK);
    if (fd === -ERRNO.ESTALE) return undefined;
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
      const attributes = listXattrsFd(fd);
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
          const next = syscall(SYS.lseek, fd, position, SEEK_DATA);
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
              ? Math.min(size, Math.max(position + 1, syscall(SYS.lseek, fd, position, SEEK_HOLE)))
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

/** Reads as much as there is room for in the chunk. */
function read(fd: number, chunks: Chunks, length: number, position: number): number {
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
