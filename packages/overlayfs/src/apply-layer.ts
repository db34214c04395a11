import { type OwnedFd, onlyKnownKeys } from '@ns/libc';
import { ArchiveError } from './archive-error.ts';
import { type DirectoryPlace, openDirectory } from './directory-place.ts';
import { defaultOwnership, type OwnershipPolicy, type Skipped } from './file-metadata.ts';
import { LayerUnpacker, type WhiteoutTarget } from './layer-unpacker.ts';
import type { Owner } from './owner.ts';
import { TarReader } from './tar-reader.ts';
import { drain } from './time-slices.ts';

/** How {@link applyLayer} unpacks. */
export interface ApplyLayerOptions {
  /**
   * What a whiteout in the archive becomes. `delete` (default): what it names is deleted from the directory, as when layers are applied
   * onto each other. `overlay`, `overlay-user`: the kernel's marks (0/0 device or user.overlay attribute), for a directory that will be a lower layer of its
   * own; `overlay-any`: for mounts with and without `userxattr`. `keep`: a file called `.wh.…`, for a plain archive.
   */
  readonly whiteouts?: WhiteoutTarget;
  /** Default `keep` as root, `ignore` otherwise. */
  readonly ownership?: OwnershipPolicy;
  /** Owner a file gets for the one in the archive. */
  readonly mapOwner?: (owner: Owner) => Owner;
  /** Device nodes: `make` (default), or `skip` where mknod(2) is not permitted; they are listed in the result. */
  readonly devices?: 'make' | 'skip';
  /** Bounds against archives made to fill a disk. Bytes are those of content, and of what pax headers say. Default: none. */
  readonly maxBytes?: number;
  readonly maxEntries?: number;
  readonly signal?: AbortSignal;
}

/** What was unpacked. */
export interface AppliedLayer {
  readonly entries: number;
  /** Bytes of file content. */
  readonly bytes: number;
  /** Attributes the file system did not take, devices left out. */
  readonly skipped: readonly Skipped[];
}

/** Synchronous work between turns of the event loop. */
const PIECE = 1024 * 1024;

/**
 * Unpacks a layer (an uncompressed tar) into a directory. Nothing an archive says leads out of it: `..` is refused, every
 * parent is resolved with openat2(RESOLVE_IN_ROOT), no final component is followed, hard links resolve inside too, whiteouts
 * name one file of their own directory, and overlayfs's private attributes are dropped.
 *
 * Privilege: owners need CAP_CHOWN, devices CAP_MKNOD, `trusted.*` attributes CAP_SYS_ADMIN. Since Linux 5.6 (openat2).
 *
 * @param archive - anything that gives chunks; it is read to its end
 * @throws ArchiveError ERR_NS_BAD_ARCHIVE, ERR_NS_UNSAFE_ARCHIVE, ERR_NS_ARCHIVE_TOO_LARGE; what was unpacked until then remains
 *
 * @example
 * ```ts
 * import { createReadStream } from 'node:fs';
 * import { createGunzip } from 'node:zlib';
 *
 * await applyLayer(createReadStream('layer.tar.gz').pipe(createGunzip()), '/layers/base', { whiteouts: 'overlay' });
 * ```
 */
export async function applyLayer(
  archive: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  directory: DirectoryPlace,
  options: ApplyLayerOptions = {},
): Promise<AppliedLayer> {
  onlyKnownKeys(options, ['whiteouts', 'ownership', 'mapOwner', 'devices', 'maxBytes', 'maxEntries', 'signal'], '');
  using root: OwnedFd = openDirectory(directory);
  using unpacker = new LayerUnpacker(root, {
    whiteouts: options.whiteouts ?? 'delete',
    ownership: options.ownership ?? defaultOwnership(),
    devices: options.devices ?? 'make',
    ...(options.mapOwner && { mapOwner: options.mapOwner }),
    maxBytes: options.maxBytes ?? Number.POSITIVE_INFINITY,
    maxEntries: options.maxEntries ?? Number.POSITIVE_INFINITY,
  });
  const reader = new TarReader(unpacker);
  for await (const chunk of archive) {
    options.signal?.throwIfAborted();
    if (!(chunk instanceof Uint8Array))
      throw new ArchiveError('ERR_NS_BAD_ARCHIVE', 'the archive gives text, not bytes', {
        hint: 'Do not set an encoding on the stream',
      });
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    for (let at = 0; at < bytes.length; at += PIECE) reader.write(bytes.subarray(at, at + PIECE));
  }
  reader.end();
  await drain(unpacker.finish(), () => {}, options.signal);
  return unpacker.result;
}
