import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileCall, NsError, O, type OwnedFd, onlyKnownKeys, open, SpecError, UnavailableError } from '@ns/libc';
import { createMount } from '@ns/mounts';
import { createSubvolume, destroySubvolume, isBtrfs, limitSubvolume } from './btrfs-subvolume.ts';
import { lockPatiently } from './lock-patiently.ts';
import { createLoopImage, mountLoopImage } from './loop-image.ts';
import { limitProject } from './project-quota.ts';

/** Ways to bound a directory, in the order in which they are tried. */
export type SizeMethod = 'project-quota' | 'btrfs-qgroup' | 'loop-image' | 'tmpfs';

/** A directory that holds at most so many bytes; writing more is ENOSPC or EDQUOT. */
export interface SizedDirectory extends Disposable {
  /** Where to write. Of an image it is `/proc/self/fd/N`: valid in this process, until it is closed. */
  readonly path: string;
  readonly method: SizeMethod;
  readonly sizeBytes: number;
  /** How many files it holds at most, when that was said. */
  readonly inodes?: number;
  /** The mount that {@link path} is in, where it is one of its own: an image, or a tmpfs. */
  readonly mount: OwnedFd | undefined;
  /** Idempotent; keeps what is in it, but of a tmpfs. */
  close(): void;
}

/** The most that a directory shall hold. */
interface Bounds {
  readonly sizeBytes: number;
  readonly inodes?: number;
}

interface Method {
  /** Makes what is needed in the empty directory `home`. @throws UnavailableError */
  create(home: string, bounds: Bounds): Promise<void>;
  /** A mount to write to; `undefined` when `data` is the place itself. */
  open(home: string, bounds: Bounds): Promise<OwnedFd | undefined>;
}

const methods: Readonly<Record<SizeMethod, Method>> = {
  'project-quota': {
    async create(home, { sizeBytes, inodes }) {
      await mkdir(join(home, 'data'));
      using data = open(join(home, 'data'), O.RDONLY | O.DIRECTORY);
      limitProject(data, sizeBytes, inodes);
    },
    open: async () => undefined,
  },
  'btrfs-qgroup': {
    async create(home, { sizeBytes, inodes }) {
      using directory = open(home, O.RDONLY | O.DIRECTORY);
      if (inodes !== undefined)
        throw new UnavailableError('btrfs quota groups', 'they do not count files', 'Leave inodes out');
      if (!isBtrfs(directory.fd))
        throw new UnavailableError('btrfs quota groups', 'it is not a btrfs', 'Give a directory on a btrfs');
      createSubvolume(directory.fd, 'data');
      try {
        using data = open(join(home, 'data'), O.RDONLY | O.DIRECTORY);
        limitSubvolume(data.fd, 'referenced', sizeBytes);
      } catch (error) {
        destroySubvolume(directory.fd, 'data');
        throw error;
      }
    },
    open: async () => undefined,
  },
  'loop-image': {
    async create(home, { sizeBytes, inodes }) {
      await createLoopImage(join(home, 'image'), sizeBytes, inodes);
      // Once, so that a machine without loop devices is found out now.
      (await mountLoopImage(join(home, 'image'))).close();
    },
    open: (home) => mountLoopImage(join(home, 'image')),
  },
  tmpfs: {
    create: async () => {},
    open: async (_home, { sizeBytes, inodes }) =>
      createMount({
        type: 'tmpfs',
        options: [
          `size=${sizeBytes}`,
          ...(inodes === undefined ? [] : [`nr_inodes=${inodes}`]),
          'mode=755',
          'nosuid',
          'nodev',
        ],
      }),
  },
};

/* What is in a home: how it is bounded, under another name until it is, and what that bounds. */
const SIZE_FILE = 'size.json';
const CONTENT = ['data', 'image'];
const UNFINISHED = '.unfinished';
/** mkfs.ext4 may take its time. */
const MAKING_MS = 30_000;

/** What bounds everybody. */
const lasting: readonly SizeMethod[] = ['btrfs-qgroup', 'loop-image'];

/** How {@link createSizedDirectory} bounds a directory. */
export interface SizedDirectoryOptions {
  /** How many files it holds at most, which a quota group of btrfs cannot say. */
  readonly inodes?: number;
  /**
   * Whoever writes to it is in a user namespace other than the initial one. Only such writers are bound by project quota:
   * in the initial one the owner of a file may take it out of its project. Default false.
   */
  readonly ownIds?: boolean;
  /** Ways to try, in this order, whoever writes. Default: project quota with `ownIds`, a quota group of btrfs, a loop image. */
  readonly methods?: readonly SizeMethod[];
}

/**
 * Makes a directory of a bounded size by whatever the host offers: project quota of ext4 and xfs, a quota group of btrfs, an
 * image file on a loop device. `tmpfs` (memory, and gone when closed) only when it is asked for. Needs CAP_SYS_ADMIN. One that
 * was made before, with the same bounds, is opened; what somebody made half, and was killed, is made anew.
 *
 * @param home - a directory to make; it holds what is needed to open it again. What else is in it stays
 * @throws UnavailableError why none of the ways is open here
 * @throws SpecError it was made with other bounds, or without
 * @throws NsError `ERR_NS_IN_USE`: an image that is open already; `ERR_NS_LOCK_TIMEOUT`: somebody takes long to make it
 *
 * @example
 * ```ts
 * using sized = await createSizedDirectory('/var/lib/app/1', 64 * 2 ** 20, { inodes: 10_000 });
 * console.log(sized.path, sized.method); // 'btrfs-qgroup', 'loop-image'
 * ```
 */
export async function createSizedDirectory(
  home: string,
  sizeBytes: number,
  options: SizedDirectoryOptions = {},
): Promise<SizedDirectory> {
  onlyKnownKeys(options, ['inodes', 'ownIds', 'methods'], '');
  const { inodes, ownIds = false } = options;
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0)
    throw new SpecError('size', 'a positive number of bytes', sizeBytes);
  if (inodes !== undefined && (!Number.isSafeInteger(inodes) || inodes <= 0))
    throw new SpecError('inodes', 'a positive number of files', inodes);
  const bounds: Bounds = { sizeBytes, ...(inodes !== undefined && { inodes }) };
  const wanted = options.methods ?? (ownIds ? ['project-quota' as const, ...lasting] : lasting);
  if (existsSync(join(home, UNFINISHED)) || !existsSync(join(home, SIZE_FILE))) await make(home, bounds, wanted);
  const known = await readSize(home);
  if (known.sizeBytes !== sizeBytes) throw new SpecError('size', MADE_WITH, sizeBytes);
  if (known.inodes !== inodes) throw new SpecError('inodes', MADE_WITH, inodes);
  // A root of the host's own ids would take its files out of the project.
  if (known.method === 'project-quota' && !wanted.includes('project-quota'))
    throw new UnavailableError(
      `${home} for writers without ids of their own`,
      'its size is a project quota, which does not bind them',
      'Use ids of their own, or another directory',
    );
  return openSizedDirectory(home);
}

const MADE_WITH = 'what it was made with';

async function make(home: string, bounds: Bounds, wanted: readonly SizeMethod[]): Promise<void> {
  const isNew = (await fileCall(home, () => mkdir(home, { recursive: true, mode: 0o700 }))) !== undefined;
  using directory = open(home, O.RDONLY | O.DIRECTORY);
  if (!(await lockPatiently(directory, MAKING_MS)))
    throw new NsError('ERR_NS_LOCK_TIMEOUT', `another process takes long to make ${home}`, {
      hint: 'Likely it is stopped; fuser shows which',
    });
  // Whoever made it was killed.
  if (existsSync(join(home, UNFINISHED))) await clear(home);
  if (existsSync(join(home, SIZE_FILE))) return;
  if (CONTENT.some((name) => existsSync(join(home, name))))
    throw new SpecError('size', 'none, as it was made without', bounds.sizeBytes);
  const refusals: string[] = [];
  for (const method of wanted) {
    try {
      await writeFile(join(home, UNFINISHED), JSON.stringify({ method, ...bounds }));
      await methods[method].create(home, bounds);
      return await rename(join(home, UNFINISHED), join(home, SIZE_FILE));
    } catch (error) {
      await clear(home);
      if (!(error instanceof UnavailableError)) throw error;
      refusals.push(`${method}: ${error.message}`);
    }
  }
  if (isNew) await rmdir(home);
  throw new UnavailableError(
    'a size limit for a directory',
    refusals.join('; '),
    'Use a sized tmpfs, or a file system with quota',
  );
}

/** Removes what was made of it, and nothing else. */
async function clear(home: string): Promise<void> {
  for (const name of [...CONTENT, SIZE_FILE, UNFINISHED]) await rm(join(home, name), { recursive: true, force: true });
}

async function readSize(home: string): Promise<Bounds & { method: SizeMethod }> {
  return JSON.parse(await fileCall(home, () => readFile(join(home, SIZE_FILE), 'utf8')));
}

/**
 * Opens again what {@link createSizedDirectory} made.
 *
 * @throws NsError `ERR_NS_IN_USE`: an image that is open already
 */
export async function openSizedDirectory(home: string): Promise<SizedDirectory> {
  const { method, ...bounds } = await readSize(home);
  const mount = await methods[method].open(home, bounds);
  return {
    path: mount?.procPath ?? join(home, 'data'),
    method,
    ...bounds,
    mount,
    close: () => mount?.close(),
    [Symbol.dispose]: () => mount?.close(),
  };
}
