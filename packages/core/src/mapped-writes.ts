import { realpath, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { IdMaps } from '@ns/launch';
import { SpecError } from '@ns/libc';
import { cloneMount } from '@ns/mounts';
import { chosenWritable, mapIds, type OpenedWrites } from './kept-writes.ts';
import { hasOwnIds } from './mapped-layers.ts';
import type { ContainerSpec, Writable } from './types.ts';

/** Directories of the caller's, for what a container writes. */
export type GivenWrites = Extract<Writable, { upper: string }>;

/** Those of a container whose ids are others outside. */
export function mappedWritesOf(spec: ContainerSpec): GivenWrites | undefined {
  const chosen = chosenWritable(spec);
  return typeof chosen === 'object' && 'upper' in chosen && hasOwnIds(spec) ? chosen : undefined;
}

/**
 * The directories, through a mount with the container's ids: what is in them has the ids that are inside.
 *
 * An overlay wants both on one mount, so it is that of the nearest directory above them.
 *
 * @throws SpecError they are not on one mount
 * @throws UnavailableError their file system cannot map ids
 */
export async function openMappedWrites(given: GivenWrites, idMaps: IdMaps): Promise<OpenedWrites> {
  const [upper, work] = await Promise.all([realpath(given.upper), realpath(given.work)]);
  const above = commonParent(upper, work);
  const mount = cloneMount(above);
  try {
    await mapIds(mount, idMaps, given.upper);
    for (const path of [upper, work]) {
      if (await sameFile(path, join(mount.procPath, relative(above, path)))) continue;
      throw new SpecError('writable', 'upper and work on one mount', given, `${path} is on another than ${above}`);
    }
  } catch (error) {
    mount.close();
    throw error;
  }
  return {
    name: given.upper,
    path: mount.procPath,
    upper: relative(above, upper),
    work: relative(above, work),
    mount,
    limit: undefined,
    [Symbol.dispose]: () => mount.close(),
  };
}

function commonParent(one: string, other: string): string {
  const parent = dirname(one);
  return parent === '/' || other.startsWith(`${parent}/`) ? parent : commonParent(parent, other);
}

async function sameFile(one: string, other: string): Promise<boolean> {
  const [here, there] = await Promise.all([stat(one), stat(other).catch(() => undefined)]);
  return there !== undefined && here.dev === there.dev && here.ino === there.ino;
}
