import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileCall, SpecError } from '@ns/libc';
import { type CopyTally, copyInto, copyRootMetadata } from './copy-into.ts';
import { type DirectoryPlace, openDirectory } from './directory-place.ts';
import type { Owner } from './owner.ts';
import { drain } from './time-slices.ts';

/**
 * A copy of an upper directory that can be mounted over the same lowers: whiteouts, opaque marks and all. Blocks are shared where the file system can
 * (FICLONE on btrfs, xfs, bcachefs), else copied inside the kernel with copy_file_range(2). The
 * container should be stopped or paused.
 *
 * @param upper - what to copy
 * @param target - an empty directory, or a path to make
 * @param options - `mapOwner`: owners as the copy shall have them, where ids inside are others; `portable`: for a mount
 * that differs from the first in `userxattr`
 * @returns what was copied and in which way
 * @throws SyscallError EEXIST for a target that is not empty, ENOSPC, ESTALE when a file is replaced meanwhile
 *
 * @example
 * ```ts
 * const { method } = await snapshot('/scratch/upper', '/scratch/copy'); // 'reflink' takes no space
 * ```
 */
export async function snapshot(
  upper: DirectoryPlace,
  target: DirectoryPlace,
  options: { mapOwner?: (owner: Owner) => Owner; portable?: boolean; signal?: AbortSignal } = {},
): Promise<CopyTally> {
  if (typeof target === 'string') fileCall(target, () => mkdirSync(target, { recursive: true }));
  using from = openDirectory(upper);
  using to = openDirectory(target);
  const tally: CopyTally = { entries: 0, bytes: 0, skipped: [] };
  const { mapOwner, portable = false, signal } = options;
  const overlayXattrs = portable ? 'keep-opaque' : 'keep';
  const policy = { ownership: 'keep', overlayXattrs, ...(mapOwner && { mapOwner }) } as const;
  await drain(copyInto(from, to, policy, tally), () => {}, signal);
  copyRootMetadata(from, to, policy);
  return tally;
}

/** One copy of an upper, with a work directory of its own. */
export interface Fork {
  readonly upper: string;
  readonly work: string;
}

/**
 * Copies an upper `count` times, each into `<into>/<n>/upper` beside an empty `work`: as many containers can go on from
 * where one stopped.
 *
 * @throws SpecError when `count` is no positive integer
 */
export async function forkUpper(
  upper: DirectoryPlace,
  count: number,
  options: { into: string; signal?: AbortSignal },
): Promise<Fork[]> {
  if (!Number.isSafeInteger(count) || count < 1) throw new SpecError('count', 'a positive integer', count);
  const forks = Array.from(
    { length: count },
    (_, n): Fork => ({ upper: join(options.into, String(n), 'upper'), work: join(options.into, String(n), 'work') }),
  );
  for (const fork of forks) {
    await snapshot(upper, fork.upper, options);
    mkdirSync(fork.work);
  }
  return forks;
}
