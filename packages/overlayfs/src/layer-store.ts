import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileCall, hasCode, NsError, O, type OwnedFd, open, SpecError } from '@ns/libc';
import { type ApplyLayerOptions, applyLayer } from './apply-layer.ts';
import { ArchiveError } from './archive-error.ts';
import { type CopyTally, copyInto, copyRootMetadata } from './copy-into.ts';
import { type DirectoryPlace, openDirectory } from './directory-place.ts';
import type { Owner } from './owner.ts';
import { removeTree } from './remove-tree.ts';
import { storeDirectory } from './store-directory.ts';
import { diffStream } from './tar-stream.ts';
import { drain } from './time-slices.ts';

/** A layer in a {@link LayerStore}. */
export interface StoredLayer {
  /** `sha256:` and the digest of the uncompressed archive: the `diff_id` of the OCI image specification. */
  readonly digest: string;
  /** The directory to give to an overlay as `lower`. Not to be written to. */
  readonly path: string;
  /** Bytes of the uncompressed archive. */
  readonly archiveBytes: number;
}

/** How {@link LayerStore.commit} makes a layer. */
export interface CommitOptions {
  readonly mapOwner?: (owner: Owner) => Owner;
  readonly signal?: AbortSignal;
}

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * Layers on disk, each named by the digest of its content and stored once whoever brings it: `<dir>/sha256/<hex>/diff`, in
 * overlayfs's form. Layers appear by one rename(2), complete or not at all. The directory is readable for its owner alone
 * (CVE-2021-41091): setuid programs of images must not be within reach of the users of the host.
 *
 * @example
 * ```ts
 * const store = new LayerStore('/var/lib/app/layers');
 * const layer = await store.commit('/scratch/upper');
 * mountOverlay({ lower: [layer.path, '/layers/base'], target: '/mnt' });
 * ```
 */
export class LayerStore {
  readonly #dir: string;

  /**
   * @param dir - made when it is first written to; a relative one is below the directory of the process now
   * @throws SpecError `ERR_NS_INVALID_SPEC`: it is empty
   */
  constructor(dir: string) {
    this.#dir = storeDirectory('dir', dir);
  }

  /**
   * Makes an upper a new layer: copied (sharing blocks where the file system can), its digest that of {@link diffStream}. The same
   * changes give the same digest on every machine. The upper stays as it is.
   *
   * @param upper - nothing should write to it meanwhile; the digest is taken of the copy, so it is right even so
   * @param options - `mapOwner`: owners as they shall stand in the layer. An ordinary user, who can give files to nobody, has
   * them so in the digest, and on disk as they were
   */
  async commit(upper: DirectoryPlace, options: CommitOptions = {}): Promise<StoredLayer> {
    const { mapOwner, signal } = options;
    const mayChown = process.geteuid?.() === 0;
    return this.#put(async (diff) => {
      using from = openDirectory(upper);
      using to = openDirectory(diff);
      const tally: CopyTally = { entries: 0, bytes: 0, skipped: [] };
      const policy = {
        ownership: 'keep',
        overlayXattrs: 'keep-opaque',
        ...(mayChown && mapOwner && { mapOwner }),
      } as const;
      await drain(copyInto(from, to, policy, tally), () => {}, signal);
      copyRootMetadata(from, to, policy);
      const hash = createHash('sha256');
      let archiveBytes = 0;
      const archived = { ...(signal && { signal }), ...(!mayChown && mapOwner && { mapOwner }) };
      for await (const chunk of diffStream(to, archived)) {
        hash.update(chunk as Buffer);
        archiveBytes += (chunk as Buffer).length;
      }
      return { digest: `sha256:${hash.digest('hex')}`, archiveBytes };
    });
  }

  /**
   * Unpacks an OCI layer archive (uncompressed) as a layer.
   *
   * @param options - `expected`: its digest; verified before the layer can be seen
   * @throws ArchiveError ERR_NS_BAD_ARCHIVE when the digest is another
   */
  async add(
    archive: AsyncIterable<Uint8Array>,
    options: Omit<ApplyLayerOptions, 'whiteouts'> & { expected?: string } = {},
  ): Promise<StoredLayer> {
    const { expected, ...apply } = options;
    if (expected !== undefined) assertDigest(expected);
    return this.#put(async (diff) => {
      const hash = createHash('sha256');
      let archiveBytes = 0;
      async function* hashed(): AsyncGenerator<Uint8Array> {
        for await (const chunk of archive) {
          hash.update(chunk);
          archiveBytes += chunk.byteLength;
          yield chunk;
        }
      }
      await applyLayer(hashed(), diff, {
        ...apply,
        whiteouts: process.geteuid?.() === 0 ? 'overlay-any' : 'overlay-user',
      });
      const digest = `sha256:${hash.digest('hex')}`;
      if (expected !== undefined && digest !== expected)
        throw new ArchiveError('ERR_NS_BAD_ARCHIVE', `the layer's digest is ${digest}, expected ${expected}`);
      return { digest, archiveBytes };
    });
  }

  /** @throws NsError ERR_NS_NO_SUCH_LAYER */
  async get(digest: string): Promise<StoredLayer> {
    const layer = this.#path(digest);
    try {
      const { archiveBytes } = JSON.parse(await readFile(join(layer, 'layer.json'), 'utf8')) as {
        archiveBytes: number;
      };
      return { digest, path: join(layer, 'diff'), archiveBytes };
    } catch (cause) {
      throw new NsError('ERR_NS_NO_SUCH_LAYER', `no layer ${digest} in ${this.#dir}`, {
        hint: 'Import it, or look what list() has',
        cause,
      });
    }
  }

  async has(digest: string): Promise<boolean> {
    return this.get(digest).then(
      () => true,
      () => false,
    );
  }

  /** Digests of all layers, sorted. */
  async list(): Promise<string[]> {
    const names = await readdir(join(this.#dir, 'sha256')).catch(() => []);
    return names
      .map((hex) => `sha256:${hex}`)
      .filter((digest) => DIGEST.test(digest))
      .sort();
  }

  /** Idempotent. Whoever has it mounted keeps it until then. */
  async remove(digest: string): Promise<void> {
    const layer = this.#path(digest);
    const aside = await this.#temporary();
    // Gone at once, whatever happens while its files are removed.
    await rename(layer, join(aside, 'removed')).catch((error: unknown) => {
      if (!hasCode(error, 'ENOENT')) throw error;
    });
    await this.#drop(aside);
  }

  /** Removes what was left by a process that was killed while it made or removed a layer. */
  async prune(): Promise<void> {
    for (const name of await readdir(join(this.#dir, 'tmp')).catch(() => []))
      await this.#drop(join(this.#dir, 'tmp', name));
  }

  async #put(fill: (diff: string) => Promise<{ digest: string; archiveBytes: number }>): Promise<StoredLayer> {
    const temporary = await this.#temporary();
    try {
      const diff = join(temporary, 'diff');
      await mkdir(diff, { mode: 0o755 });
      const { digest, archiveBytes } = await fill(diff);
      await writeFile(join(temporary, 'layer.json'), JSON.stringify({ digest, archiveBytes }));
      const layer = this.#path(digest);
      await mkdir(join(this.#dir, 'sha256'), { recursive: true, mode: 0o700 });
      // Somebody else was first: theirs is the same, and may be in use.
      await rename(temporary, layer).catch((error: unknown) => {
        if (!hasCode(error, 'ENOTEMPTY', 'EEXIST')) throw error;
      });
      return { digest, path: join(layer, 'diff'), archiveBytes };
    } finally {
      await this.#drop(temporary);
    }
  }

  async #temporary(): Promise<string> {
    const path = join(this.#dir, 'tmp', randomBytes(8).toString('hex'));
    await fileCall(path, () => mkdir(path, { recursive: true, mode: 0o700 }));
    return path;
  }

  /** Not fs.rm: content is somebody else's, of any depth and with any name. */
  async #drop(path: string): Promise<void> {
    using directory: OwnedFd = open(join(path, '..'), O.PATH | O.DIRECTORY);
    await drain(removeTree(directory.fd, path.slice(path.lastIndexOf('/') + 1)), () => {});
  }

  #path(digest: string): string {
    assertDigest(digest);
    return join(this.#dir, 'sha256', digest.slice('sha256:'.length));
  }
}

/** Before a digest becomes a path (CVE-2014-9358). */
function assertDigest(digest: string): void {
  if (!DIGEST.test(digest)) throw new SpecError('digest', 'sha256: and 64 hexadecimal digits in lower case', digest);
}
