import { Readable } from 'node:stream';
import { openToRead } from './device-free-root.ts';
import type { DirectoryPlace } from './directory-place.ts';
import { type MemberOptions, MemberWriter, type TarSource } from './member-writer.ts';
import type { Owner } from './owner.ts';
import { CHUNK, TarChunks } from './tar-chunks.ts';
import { BLOCK } from './tar-format.ts';
import { inSlices, type Steps } from './time-slices.ts';
import { type WalkOptions, walkLayer } from './walk-layer.ts';
import { type StackedLayer, walkStack } from './walk-stack.ts';
import type { WhiteoutForm } from './whiteouts.ts';

/** How a tree is written down. */
export interface TarOptions {
  /** Owner as it shall stand in the archive: translate from the host's ids to the container's. Default: as it is. */
  readonly mapOwner?: (owner: Owner) => Owner;
  /** Paths (without leading slash) to leave out, with all below. */
  readonly exclude?: (path: string) => boolean;
  readonly signal?: AbortSignal;
}

/**
 * A layer as an OCI layer archive: whiteouts and opaque directories of overlayfs become `.wh.` names, its private attributes are
 * left out; everything else is exact: owners, modes, nanosecond times, attributes as bytes, hard links, devices, sizes over
 * 8 GiB. Order and headers depend on the content alone, so the same layer has the same digest everywhere.
 * Sockets are left out, as by every archiver; holes of sparse files are written as zeros, unread.
 *
 * Privilege: reading `trusted.*` attributes needs CAP_SYS_ADMIN in the initial user namespace.
 *
 * @param upper - nothing should write to it meanwhile; a file that shrinks is filled with zeros
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
 * @param options - `crossMounts`: with what is mounted below, or with that at paths (without leading slash) that it says yes
 * to. Default: mount points are in it, empty. `readableOnly`: what this process may not read is left out
 *
 * @example
 * ```ts
 * await applyLayer(treeStream('/srv/data'), '/srv/copy');
 * ```
 */
export function treeStream(
  root: DirectoryPlace,
  options: TarOptions & Pick<WalkOptions, 'crossMounts' | 'readableOnly'> = {},
): Readable {
  const { crossMounts = false, readableOnly = false } = options;
  return archive(root, { whiteouts: 'none', crossMounts, readableOnly }, options);
}

function archive(place: DirectoryPlace, walk: WalkOptions, options: TarOptions): Readable {
  return tarStream(
    function* () {
      using root = openToRead(place, (walk.crossMounts ?? false) !== false);
      yield* root.deviceFree
        ? walkLayer(root.directory, { ...walk, unopenedFiles: true })
        : walkLayer(root.directory, walk);
    },
    { ...options, readableOnly: walk.readableOnly ?? false, kind: walk.whiteouts === 'none' ? 'tree' : 'layer' },
  );
}

/** Entries of an archive, a directory before what is in it; `undefined` is a place to breathe. May be told to skip what is below. */
type Entries = Generator<TarSource | undefined, void, 'skip' | undefined>;

/** An archive of the entries of a walk, made while it is read. */
export function tarStream(entries: () => Entries, options: TarOptions & MemberOptions): Readable {
  function* blocks(): Steps<Buffer> {
    yield* tarBlocks(entries(), options);
  }
  return Readable.from(inSlices(blocks(), options.signal), { objectMode: false, highWaterMark: CHUNK });
}

function* tarBlocks(entries: Entries, options: TarOptions & MemberOptions): Steps<Buffer> {
  const chunks = new TarChunks();
  const members = new MemberWriter(chunks, options);
  const { exclude } = options;
  let excluded: string | undefined;
  const isExcluded = (path: string): boolean => {
    if (exclude === undefined) return false;
    if (excluded !== undefined && path.startsWith(excluded)) return true;
    excluded = exclude(path) ? `${path}/` : undefined;
    return excluded !== undefined;
  };

  try {
    let answer: 'skip' | undefined;
    for (let next = entries.next(); !next.done; next = entries.next(answer)) {
      const entry = next.value;
      answer = entry && isExcluded(entry.path) ? 'skip' : undefined;
      if (entry && answer === undefined) {
        const content = members.write(entry);
        // Nearly all files are small and done by now.
        if (content) yield* content;
      }
      if (chunks.hasFull) yield* chunks.takeFull();
      else yield undefined;
    }
  } finally {
    entries.return();
  }
  // Two empty blocks end an archive.
  chunks.skip(2 * BLOCK);
  yield* chunks.takeFull();
  yield chunks.takeRest();
}
