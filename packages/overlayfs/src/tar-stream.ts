import { Readable } from 'node:stream';
import {
  allocate,
  check,
  closeFd,
  ERRNO,
  getXattr,
  O,
  openAt,
  readlinkAt,
  type Stat,
  SYS,
  statFd,
  syscall,
} from '@ns/libc';
import { ArchiveError } from './archive-error.ts';
import { ownXattrs } from './compare-files.ts';
import { type DirectoryPlace, openDirectory } from './directory-place.ts';
import { inodeKey, isDevice, isRegular, isSocket, isSymlink, permissions } from './file-type.ts';
import { assertSelfContained } from './self-contained.ts';
import { BLOCK, padding, TYPE, typeOfMode } from './tar-format.ts';
import { encodeHeader, type TarEntry } from './tar-header.ts';
import { inSlices, type Steps } from './time-slices.ts';
import { join, type LayerEntry, type WalkOptions, walkLayer } from './walk-layer.ts';
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
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** The output in chunks of one size. Fresh memory is zero, which holes and padding rely on. */
class Chunks {
  #memory = allocate(CHUNK);
  #used = 0;

  get room(): number {
    return CHUNK - this.#used;
  }

  /** Address of the free part. */
  get address(): number {
    return this.#memory.address + this.#used;
  }

  /** Counts bytes as written; holes are just counted. */
  advance(length: number): void {
    this.#used += length;
  }

  copy(bytes: Buffer, from: number): number {
    return bytes.copy(this.#memory.bytes, this.#used, from);
  }

  take(): Buffer {
    const full = this.#memory.bytes.subarray(0, this.#used);
    this.#memory = allocate(CHUNK);
    this.#used = 0;
    return full;
  }
}

/**
 * A layer as an OCI layer archive: whiteouts and opaque directories of overlayfs become `.wh.` names, its private attributes are
 * left out; everything else is exact: owners, modes, nanosecond times, attributes as bytes, hard links, devices, sizes over
 * 8 GiB. Order and headers depend on the content alone, so the same layer has the same digest everywhere.
 * Sockets are left out, as by every archiver; holes of sparse files are written as zeros, unread.
 *
 * @param upper - nothing should write to it meanwhile; a file that shrinks is filled with zeros
 * @throws ArchiveError ERR_NS_UNREPRESENTABLE in the stream: a file called `.wh.…`, or a layer made with metacopy or redirect_dir
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

/** Any tree as a tar archive, as exact as {@link diffStream}; names and device numbers have no special meaning. */
export function treeStream(root: DirectoryPlace, options: TarOptions & { crossMounts?: boolean } = {}): Readable {
  return archive(root, { whiteouts: 'none', crossMounts: options.crossMounts ?? false }, options);
}

function archive(place: DirectoryPlace, walk: WalkOptions, options: TarOptions): Readable {
  return tarStream(
    function* () {
      using root = openDirectory(place);
      yield* walkLayer(root, walk);
    },
    { ...options, kind: walk.whiteouts === 'none' ? 'tree' : 'layer' },
  );
}

/** What {@link tarStream} writes: in a `layer` some names have a meaning. */
export interface TarKind {
  readonly kind: 'layer' | 'tree';
}

/** An archive of the entries of a walk, made while it is read. `undefined` entries are places to breathe. */
export function tarStream(entries: () => Generator<LayerEntry | undefined>, options: TarOptions & TarKind): Readable {
  function* blocks(): Steps<Buffer> {
    yield* tarBlocks(entries(), options);
  }
  return Readable.from(inSlices(blocks(), options.signal), { objectMode: false, highWaterMark: CHUNK });
}

function* tarBlocks(entries: Generator<LayerEntry | undefined>, options: TarOptions & TarKind): Steps<Buffer> {
  const chunks = new Chunks();
  // First path of each file with several; only those are remembered.
  const firstPaths = new Map<string, string>();
  const { mapOwner = (owner) => owner, exclude } = options;
  let excluded: string | undefined;

  function* put(bytes: Buffer): Steps<Buffer> {
    for (let done = 0; done < bytes.length; ) {
      const copied = chunks.copy(bytes, done);
      chunks.advance(copied);
      done += copied;
      if (chunks.room === 0) yield chunks.take();
    }
  }

  for (const entry of entries) {
    if (entry && !isExcluded(entry.path)) yield* member(entry);
    yield undefined;
  }
  // Two empty blocks end an archive.
  yield* put(Buffer.alloc(2 * BLOCK));
  yield chunks.take();

  function isExcluded(path: string): boolean {
    if (excluded !== undefined && path.startsWith(excluded)) return true;
    excluded = exclude?.(path) ? `${path}/` : undefined;
    return excluded !== undefined;
  }

  function* member(entry: LayerEntry): Steps<Buffer> {
    if (entry.whiteout) {
      yield* put(encodeHeader(mark(join(entry.parent, WHITEOUT_PREFIX + entry.name))));
    } else if (!isSocket(entry.stat)) {
      if (options.kind === 'layer') assertRepresentable(entry);
      yield* one(entry);
      if (entry.opaque) yield* put(encodeHeader(mark(join(entry.path, OPAQUE_MARKER))));
    }
  }

  function* one(entry: LayerEntry): Steps<Buffer> {
    const { path, dirFd, name } = entry;
    const { uid, gid } = mapOwner({ uid: entry.stat.uid, gid: entry.stat.gid });
    if (!isRegular(entry.stat)) return yield* put(encodeHeader({ ...describe(entry, entry.stat), uid, gid }));
    const fd = openAt(dirFd, name, O.RDONLY | O.NOFOLLOW | O.NONBLOCK);
    // Gone since it was listed.
    if (fd === -ERRNO.ENOENT!) return;
    check('openat', fd, { path, doing: `read ${path} for an archive` });
    try {
      // What is open decides: the name may lead elsewhere by now.
      const stat = statFd(fd);
      if (!isRegular(stat)) return;
      const first = stat.nlink > 1 ? firstPaths.get(inodeKey(stat)) : undefined;
      if (first !== undefined) {
        return yield* put(
          encodeHeader({
            ...describe(entry, stat),
            uid,
            gid,
            type: TYPE.HARD_LINK,
            linkName: first,
            size: 0,
            xattrs: new Map(),
          }),
        );
      }
      if (stat.nlink > 1) firstPaths.set(inodeKey(stat), path);
      yield* put(encodeHeader({ ...describe(entry, stat), uid, gid }));
      yield* content(fd, stat);
    } finally {
      closeFd(fd);
    }
  }

  function* content(fd: number, stat: Stat): Steps<Buffer> {
    const { size } = stat;
    const sparse = stat.blocks * 512 < size;
    let position = 0;
    let dataEnd = sparse ? 0 : size;
    while (position < size) {
      if (chunks.room === 0) yield chunks.take();
      if (position >= dataEnd) {
        const next = syscall(SYS.lseek, fd, position, SEEK_DATA);
        // ENXIO: only a hole to the end.
        const dataStart = next < 0 ? size : Math.min(next, size);
        for (let hole = dataStart - position; hole > 0; ) {
          const length = Math.min(hole, chunks.room);
          chunks.advance(length);
          hole -= length;
          if (chunks.room === 0) yield chunks.take();
        }
        position = dataStart;
        dataEnd =
          position < size ? Math.min(size, Math.max(position + 1, syscall(SYS.lseek, fd, position, SEEK_HOLE))) : size;
        continue;
      }
      const length = Math.min(chunks.room, dataEnd - position);
      const count = check('pread64', syscall(SYS.pread64, fd, chunks.address, length, position), {
        doing: 'read a file for an archive',
      });
      // The file is shorter than its header says: what is missing becomes a hole.
      if (count === 0) dataEnd = position;
      chunks.advance(count);
      position += count;
    }
    yield* put(Buffer.alloc(padding(size)));
  }
}

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

function describe({ path, dirFd, name }: LayerEntry, stat: Stat): TarEntry {
  const xattrs = new Map<string, Buffer>();
  for (const attribute of ownXattrs(dirFd, name)) {
    const value = getXattr(dirFd, name, attribute);
    if (value) xattrs.set(attribute, value);
  }
  const { uid, gid, mtimeSec, mtimeNsec } = stat;
  return {
    path,
    type: typeOfMode[stat.mode & 0o170000]!,
    mode: permissions(stat),
    uid,
    gid,
    size: isRegular(stat) ? stat.size : 0,
    mtimeSec,
    mtimeNsec,
    ...(isSymlink(stat) && { linkName: readlinkAt(dirFd, name) ?? '' }),
    ...(isDevice(stat) && { devMajor: stat.rdevMajor, devMinor: stat.rdevMinor }),
    xattrs,
  };
}

function assertRepresentable(entry: LayerEntry): void {
  assertSelfContained(entry);
  if (entry.name.startsWith(WHITEOUT_PREFIX)) {
    const hint = 'Remove or rename the file, or leave it out with exclude';
    throw new ArchiveError('ERR_NS_UNREPRESENTABLE', 'in an OCI layer this name would delete another file', {
      path: entry.path,
      hint,
    });
  }
}
