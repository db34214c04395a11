import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { O, type OwnedFd, open, SpecError, UnavailableError } from '@ns/libc';
import { createMount } from '@ns/mounts';
import { createSubvolume, destroySubvolume, isBtrfs, limitSubvolume } from './btrfs-subvolume.ts';
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
  /** Idempotent; keeps what is in it, but of a tmpfs. */
  close(): void;
}

interface Method {
  /** Makes what is needed in the empty directory `home`. @throws UnavailableError */
  create(home: string, sizeBytes: number): Promise<void>;
  /** A mount to write to; `undefined` when `data` is the place itself. */
  open(home: string, sizeBytes: number): OwnedFd | undefined;
}

const methods: Readonly<Record<SizeMethod, Method>> = {
  'project-quota': {
    async create(home, sizeBytes) {
      await mkdir(join(home, 'data'));
      using data = open(join(home, 'data'), O.RDONLY | O.DIRECTORY);
      limitProject(data, sizeBytes);
    },
    open: () => undefined,
  },
  'btrfs-qgroup': {
    async create(home, sizeBytes) {
      using directory = open(home, O.RDONLY | O.DIRECTORY);
      if (!isBtrfs(directory.fd)) throw new UnavailableError('btrfs quota groups', 'it is not a btrfs');
      createSubvolume(directory.fd, 'data');
      try {
        using data = open(join(home, 'data'), O.RDONLY | O.DIRECTORY);
        limitSubvolume(data.fd, 'referenced', sizeBytes);
      } catch (error) {
        destroySubvolume(directory.fd, 'data');
        throw error;
      }
    },
    open: () => undefined,
  },
  'loop-image': {
    async create(home, sizeBytes) {
      await createLoopImage(join(home, 'image'), sizeBytes);
      // Once, so that a machine without loop devices is found out now.
      mountLoopImage(join(home, 'image')).close();
    },
    open: (home) => mountLoopImage(join(home, 'image')),
  },
  tmpfs: {
    create: async () => {},
    open: (_home, sizeBytes) =>
      createMount({ type: 'tmpfs', options: [`size=${sizeBytes}`, 'mode=755', 'nosuid', 'nodev'] }),
  },
};

const lasting: readonly SizeMethod[] = ['project-quota', 'btrfs-qgroup', 'loop-image'];

/**
 * Makes a directory of a bounded size by whatever the host offers: project quota of ext4 and xfs, a quota group of btrfs, an
 * image file on a loop device. `tmpfs` (memory, and gone when closed) only when it is asked for. Needs CAP_SYS_ADMIN.
 *
 * @param home - a directory to make; it holds what is needed to open it again
 * @throws UnavailableError why none of the ways is open here
 */
export async function createSizedDirectory(
  home: string,
  sizeBytes: number,
  options: { methods?: readonly SizeMethod[] } = {},
): Promise<SizedDirectory> {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0)
    throw new SpecError('size', 'a positive number of bytes', sizeBytes);
  const refusals: string[] = [];
  for (const method of options.methods ?? lasting) {
    await mkdir(home, { recursive: true, mode: 0o700 });
    try {
      await methods[method].create(home, sizeBytes);
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
      refusals.push(`${method}: ${error.message}`);
      await clear(home);
      continue;
    }
    await writeFile(join(home, 'size.json'), JSON.stringify({ method, sizeBytes }));
    return openSizedDirectory(home);
  }
  throw new UnavailableError(
    'a size limit for a directory',
    refusals.join('; '),
    'Use a sized tmpfs, or a file system with quota',
  );
}

/** Opens again what {@link createSizedDirectory} made. */
export async function openSizedDirectory(home: string): Promise<SizedDirectory> {
  const { method, sizeBytes } = JSON.parse(await readFile(join(home, 'size.json'), 'utf8')) as {
    method: SizeMethod;
    sizeBytes: number;
  };
  const mount = methods[method].open(home, sizeBytes);
  return {
    path: mount?.procPath ?? join(home, 'data'),
    method,
    sizeBytes,
    close: () => mount?.close(),
    [Symbol.dispose]: () => mount?.close(),
  };
}

async function clear(home: string): Promise<void> {
  // A method that failed left nothing but empty files and directories of ours.
  if (existsSync(home)) await rm(home, { recursive: true });
}
