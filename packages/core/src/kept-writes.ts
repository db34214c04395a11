import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseSize } from '@ns/cgroups';
import { SpecError, UnavailableError } from '@ns/libc';
import { createSizedDirectory, openSizedDirectory } from '@ns/overlayfs';
import type { ContainerSpec, Writable } from './types.ts';

/** A directory that keeps writes from one container to the next. */
export type KeptWrites = Extract<Writable, { dir: string }>;

/** The kept directory of a specification, when it has one. */
export function keptWritesOf({ rootfs, writable }: Pick<ContainerSpec, 'rootfs' | 'writable'>): KeptWrites | undefined {
  const chosen = (typeof rootfs === 'object' && 'layers' in rootfs ? rootfs.writable : undefined) ?? writable;
  return typeof chosen === 'object' && 'dir' in chosen ? chosen : undefined;
}

/** Where in it the overlay writes. */
export function layersOfKept({ dir }: KeptWrites): { upper: string; work: string } {
  return { upper: join(dir, 'data/upper'), work: join(dir, 'data/work') };
}

/**
 * Makes the directory, or finds it again, with the limit it was made with.
 *
 * @throws UnavailableError no quota of the file system can bound it
 * @throws SpecError it was made with another size
 */
export async function prepareKeptWrites(kept: KeptWrites): Promise<void> {
  const { dir, size } = kept;
  if (size !== undefined) await limit(dir, parseSize(size, 'writable.size'));
  const { upper, work } = layersOfKept(kept);
  await mkdir(upper, { recursive: true });
  await mkdir(work, { recursive: true, mode: 0o700 });
}

async function limit(dir: string, sizeBytes: number): Promise<void> {
  const known = await openSizedDirectory(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (known && known.sizeBytes !== sizeBytes)
    throw new SpecError('writable.size', `the size it was made with, ${known.sizeBytes}`, sizeBytes);
  if (known) return;
  try {
    // Ways that bound a plain directory: what is in it can be looked at, applied and kept when nothing runs.
    (await createSizedDirectory(dir, sizeBytes, { methods: ['project-quota', 'btrfs-qgroup'] })).close();
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    throw new UnavailableError(
      `a size limit for ${dir}`,
      error.message,
      'Use ext4 or xfs with project quota, or btrfs with quota, or { tmpfs: size }',
    );
  }
}
