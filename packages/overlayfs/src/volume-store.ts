import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readdir, readFile, rename, rmdir, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import {
  AT_REMOVEDIR,
  check,
  ERRNO,
  fileCall,
  hasCode,
  mkdirAt,
  NsError,
  O,
  OwnedFd,
  open,
  readDirectory,
  renameAt,
  rollBack,
  SpecError,
  SyscallError,
  statAt,
  tryLock,
  unlinkAt,
  withSpareDescriptors,
} from '@ns/libc';
import { resolveInRoot } from '@ns/mounts';
import { copyInto, copyRootMetadata } from './copy-into.ts';
import { type DirectoryPlace, openChildDirectory, openDirectory } from './directory-place.ts';
import { defaultOwnership } from './file-metadata.ts';
import { removeTree } from './remove-tree.ts';
import { storeDirectory } from './store-directory.ts';
import { drain } from './time-slices.ts';

/** A named directory that outlives containers. */
export interface Volume {
  readonly name: string;
  /** The directory to bind. */
  readonly path: string;
  readonly labels: Readonly<Record<string, string>>;
  /** ISO 8601. */
  readonly createdAt: string;
}

/** A volume and who uses it. */
export interface VolumeStatus extends Volume {
  /** Ids given to {@link VolumeStore.use}. */
  readonly usedBy: readonly string[];
}

// Docker's rule for names.
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;

/** Where a volume's first content is put together, beside its `data`. */
const FILLING = 'filling';
/** What that is called when it is whole: whoever finds it moves it to its place. */
const FILLED = 'filled';
const LOCK_POLL_MS = 10;

/** Of half a volume: files, then directories, then what they are in. */
export interface VolumeRemains {
  readonly files: readonly string[];
  readonly directories: readonly string[];
  readonly parents: readonly string[];
}

/**
 * Named volumes on disk: `<dir>/<name>/data` is what is bound, `volume.json` what is known, `users/<id>` who uses it. Everything
 * appears by rename(2) and is gone by rename(2), so several processes may share a store.
 *
 * @example
 * ```ts
 * const volumes = new VolumeStore('/var/lib/app/volumes');
 * const { path } = await volumes.create({ name: 'db' });
 * await volumes.populate('db', '/layers/image', '/var/lib/db');
 * await volumes.use('db', 'container-1'); // until release(): it is not removed meanwhile
 * ```
 */
export class VolumeStore {
  readonly #dir: string;

  /**
   * @param dir - made when it is first written to; a relative one is below the directory of the process now
   * @throws SpecError `ERR_NS_INVALID_SPEC`: it is empty
   */
  constructor(dir: string) {
    this.#dir = storeDirectory('dir', dir);
  }

  /**
   * Makes an empty volume, whole or not at all.
   *
   * @param options.entrust - is told of what would stay of half a volume when this process is killed, before that is made
   * @throws NsError ERR_NS_VOLUME_EXISTS
   */
  async create(options: {
    name: string;
    labels?: Readonly<Record<string, string>>;
    entrust?: (remains: VolumeRemains) => Disposable;
  }): Promise<Volume> {
    const { name, labels = {}, entrust } = options;
    const path = this.#path(name);
    const temporary = join(this.#dir, `.new-${randomBytes(8).toString('hex')}`);
    const createdAt = new Date().toISOString();
    const inside = (entry: string) => join(temporary, entry);
    using _ = entrust?.({
      files: [inside('volume.json')],
      directories: [inside('users'), inside('data')],
      parents: [temporary],
    });
    // Synchronous: a thread of libuv's may still make something when this one was killed and what is entrusted is being removed.
    fileCall(this.#dir, () => mkdirSync(temporary, { recursive: true, mode: 0o700 }));
    try {
      fileCall(temporary, () => {
        mkdirSync(inside('users'), { mode: 0o700 });
        // The container's users must get at it, through the bind; nobody on the host gets past the store itself.
        mkdirSync(inside('data'));
        chmodSync(inside('data'), 0o755);
        writeFileSync(inside('volume.json'), JSON.stringify({ labels, createdAt }));
        renameSync(temporary, path);
      });
    } catch (cause) {
      const error = existsSync(path)
        ? new NsError('ERR_NS_VOLUME_EXISTS', `a volume called ${name} exists`, {
            hint: 'Remove it, or choose another name',
            cause,
          })
        : cause;
      throw await rollBack(error, async () =>
        withSpareDescriptors(() => rmSync(temporary, { recursive: true, force: true })),
      );
    }
    return { name, path: join(path, 'data'), labels, createdAt };
  }

  /** @throws NsError ERR_NS_NO_SUCH_VOLUME */
  async get(name: string): Promise<VolumeStatus> {
    const path = this.#path(name);
    try {
      const { labels, createdAt } = JSON.parse(await readFile(join(path, 'volume.json'), 'utf8')) as Volume;
      return { name, path: join(path, 'data'), labels, createdAt, usedBy: (await readdir(join(path, 'users'))).sort() };
    } catch (cause) {
      throw new NsError('ERR_NS_NO_SUCH_VOLUME', `there is no volume called ${name}`, {
        hint: 'Create it; list() has those there are',
        cause,
      });
    }
  }

  /** All volumes, by name. */
  async list(): Promise<VolumeStatus[]> {
    const names = await readdir(this.#dir).catch(() => []);
    const found = await Promise.all(
      names
        .filter((name) => NAME.test(name))
        .sort()
        .map((name) =>
          this.get(name).catch((error: unknown) => {
            // Removed meanwhile.
            if (!hasCode(error, 'ERR_NS_NO_SUCH_VOLUME')) throw error;
            return undefined;
          }),
        ),
    );
    return found.filter((volume) => volume !== undefined);
  }

  /** Says that `user` (a container's id) uses the volume, until {@link release}. Idempotent. */
  async use(name: string, user: string): Promise<Volume> {
    if (!NAME.test(user)) throw new SpecError('user', 'an id without slashes', user);
    const volume = await this.get(name);
    await writeFile(join(this.#path(name), 'users', user), '');
    return volume;
  }

  /** Idempotent, also for a volume that is gone. */
  async release(name: string, user: string): Promise<void> {
    if (!NAME.test(user)) throw new SpecError('user', 'an id without slashes', user);
    await unlink(join(this.#path(name), 'users', user)).catch(ignoreMissing);
  }

  /**
   * Fills a volume at its first use with what an image has at the mount point, as Docker does: only when the volume is empty. The path is
   * resolved inside the image (CVE-2022-23648). Of several processes one does it and the others wait (flock(2) on the
   * volume's directory); who is interrupted leaves it empty, for the next one, or whole but for a move that the next one ends.
   *
   * Owners are kept by root; an ordinary user's copy is his own.
   *
   * @returns whether anything was copied
   * @throws NsError ERR_NS_NO_SUCH_VOLUME
   * @throws SyscallError ENOSPC and others of copying
   */
  async populate(
    name: string,
    imageRoot: DirectoryPlace,
    path: string,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<boolean> {
    using target = openDirectory((await this.get(name)).path);
    using home = openDirectory(this.#path(name));
    const isBegun = statAt(home.fd, FILLED) !== undefined;
    if (!isBegun && !isEmpty(target)) return false;
    using root = openDirectory(imageRoot);
    using source = resolveDirectory(root, path);
    if (!isBegun && !source) return false;
    while (!tryLock(home.fd)) await setTimeout(LOCK_POLL_MS, undefined, signal && { signal });
    if (moveFilled(home, target)) return true;
    if (!source || !isEmpty(target)) return false;
    const policy = { ownership: defaultOwnership(), overlayXattrs: 'drop' } as const;
    await drain(removeTree(home.fd, FILLING), () => {});
    check('mkdirat', mkdirAt(home.fd, FILLING, 0o700), { path: FILLING });
    try {
      using whole = new OwnedFd(check('openat', openChildDirectory(home.fd, FILLING), { path: FILLING }));
      await drain(copyInto(source, whole, policy, { entries: 0, bytes: 0, skipped: [] }), () => {}, signal);
      copyRootMetadata(source, target, policy);
      check('renameat2', renameAt(home.fd, FILLING, home.fd, FILLED), { path: FILLED });
    } finally {
      await drain(removeTree(home.fd, FILLING), () => {});
    }
    return moveFilled(home, target);
  }

  /**
   * Idempotent.
   *
   * @throws NsError ERR_NS_VOLUME_IN_USE
   */
  async remove(name: string): Promise<void> {
    const path = this.#path(name);
    // An empty directory can be removed, one with users cannot: no moment lies between looking and removing.
    try {
      await rmdir(join(path, 'users'));
    } catch (cause) {
      if (hasCode(cause, 'ENOENT')) return this.#removeRest(path);
      const { usedBy } = await this.get(name);
      const users = usedBy.map((user) => user.slice(0, 12));
      throw new NsError('ERR_NS_VOLUME_IN_USE', `the volume ${name} is used by ${users.join(', ')}`, {
        cause,
        hint: 'Remove the containers that have it mounted first',
      });
    }
    const aside = await this.#takeAside(path);
    if (aside !== undefined) await this.#drop(aside);
  }

  /** Who began to remove it was killed, and nobody could remove it or make another one of its name. */
  async #removeRest(path: string): Promise<void> {
    const aside = await this.#takeAside(path);
    if (aside === undefined) return;
    // Another one has been made since we looked.
    if (existsSync(join(aside, 'users'))) await rename(aside, path);
    else await this.#drop(aside);
  }

  /** Gone for all who look for it by its name. `undefined` when it was gone. */
  async #takeAside(path: string): Promise<string | undefined> {
    const aside = join(this.#dir, `.old-${randomBytes(8).toString('hex')}`);
    try {
      await rename(path, aside);
      return aside;
    } catch (error) {
      ignoreMissing(error);
      return undefined;
    }
  }

  async #drop(path: string): Promise<void> {
    using directory = open(this.#dir, O.PATH | O.DIRECTORY);
    await drain(removeTree(directory.fd, path.slice(path.lastIndexOf('/') + 1)), () => {});
  }

  #path(name: string): string {
    if (typeof name !== 'string' || !NAME.test(name)) {
      throw new SpecError('name', 'letters, digits, dots, dashes and underscores, at most 128', name);
    }
    return join(this.#dir, name);
  }
}

function ignoreMissing(error: unknown): void {
  if (!hasCode(error, 'ENOENT')) throw error;
}

function isEmpty(directory: OwnedFd): boolean {
  using own = openDirectory(directory);
  return readDirectory(own.fd).length === 0;
}

/** Ends what somebody began who was perhaps killed since. `false` when there is nothing to be moved. */
function moveFilled(home: OwnedFd, target: OwnedFd): boolean {
  const fd = openChildDirectory(home.fd, FILLED);
  if (fd === -ERRNO.ENOENT) return false;
  using whole = new OwnedFd(check('openat', fd, { path: FILLED }));
  for (const { name } of readDirectory(whole.fd))
    check('renameat2', renameAt(whole.fd, name, target.fd, name), { path: name });
  check('unlinkat', unlinkAt(home.fd, FILLED, AT_REMOVEDIR), { path: FILLED });
  return true;
}

/** The directory an image has at a path; `undefined` when it has none there. */
function resolveDirectory(root: OwnedFd, path: string): OwnedFd | undefined {
  try {
    using place = resolveInRoot(root.fd, path);
    return openDirectory(place);
  } catch (error) {
    if (error instanceof SyscallError && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return undefined;
    throw error;
  }
}
