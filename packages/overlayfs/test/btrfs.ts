import { execFileSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Scratch } from './scratch.ts';

/** A btrfs of its own, in a file. */
export function btrfs(scratch: Scratch): string {
  const image = join(scratch.path, 'btrfs.img');
  writeFileSync(image, '');
  truncateSync(image, 256 * 1024 * 1024);
  execFileSync('mkfs.btrfs', ['-q', image]);
  const target = scratch.dir('btrfs');
  execFileSync('mount', ['-o', 'loop', image, target]);
  return target;
}
