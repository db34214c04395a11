import { chmodSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseSize } from '@ns/cgroups';
import type { IdMaps } from '@ns/launch';
import { makeDirectories, NsError, type OwnedFd, SpecError, SyscallError, UnavailableError } from '@ns/libc';
import { cloneMount, createUserNamespace, idmapMount } from '@ns/mounts';
import { createSizedDirectory, type SizedDirectory, type SizeMethod } from '@ns/overlayfs';
import { kernelAtLeast, readHost } from './host.ts';
import type { ContainerSpec, Size, Writable } from './types.ts';

/** A directory that keeps writes from one container to the next. */
export type KeptWrites = Extract<Writable, { dir: string }>;

/** How what a container writes is bounded. */
export interface WriteLimit {
  /** `tmpfs`: memory. The others are on disk. */
  readonly method: SizeMethod;
  readonly sizeBytes: number;
  readonly inodes?: number;
}

/** Kept writes while a container has them. */
export interface OpenedWrites extends Disposable {
  /** What the caller named. */
  readonly name: string;
  /** Where `upper` and `work` are, in this process and until it is closed. */
  readonly path: string;
  /** Below it. */
  readonly upper: string;
  readonly work: string;
  /** What the container gets instead of a path: an image, or the directory with the container's ids mapped. */
  readonly mount: OwnedFd | undefined;
  readonly limit: WriteLimit | undefined;
}

/** The kept directory of a specification, when it has one. */
export function keptWritesOf(spec: Pick<ContainerSpec, 'rootfs' | 'writable'>): KeptWrites | undefined {
  const chosen = chosenWritable(spec);
  return typeof chosen === 'object' && 'dir' in chosen ? chosen : undefined;
}

/** Where a specification lets a container write. */
export function chosenWritable({ rootfs, writable }: Pick<ContainerSpec, 'rootfs' | 'writable'>): Writable | undefined {
  return (typeof rootfs === 'object' && 'layers' in rootfs ? rootfs.writable : undefined) ?? writable;
}

/** Where in it layers are. */
export function dataOfKept({ dir }: KeptWrites): string {
  return join(dir, 'data');
}

/** Where in it the overlay writes. */
export function layersOfKept(kept: KeptWrites): { upper: string; work: string } {
  return { upper: join(dataOfKept(kept), 'upper'), work: join(dataOfKept(kept), 'work') };
}

/**
 * Makes the directory, or finds it again, with the limit it was made with. What is in it has the ids that are inside.
 *
 * @param options.assembled - the root has a layer for each directory of the host, whose names the start knows
 * @throws UnavailableError nothing that the host has can bound it, or its file system cannot map ids
 * @throws SpecError it was made with another size, or without one; or for a root of the other kind
 * @throws NsError `ERR_NS_IN_USE`: it is in an image, and another container has that
 */
export async function openKeptWrites(
  kept: KeptWrites,
  idMaps: IdMaps | undefined,
  { assembled = false }: { readonly assembled?: boolean } = {},
): Promise<OpenedWrites> {
  const sized = kept.size === undefined ? undefined : await sizedDirectory(kept, kept.size, idMaps !== undefined);
  const path = sized?.path ?? dataOfKept(kept);
  let mount = sized?.mount;
  try {
    makeDirectories(path);
    // Its set-user-ID programs are for nobody on the host (CVE-2021-41091).
    if (!sized) chmodSync(path, 0o700);
    assertSameKind(path, kept, { assembled });
    if (!assembled) {
      makeDirectories(join(path, 'upper'));
      makeDirectories(join(path, 'work'), 0o700);
    }
    // An ordinary user's files are his own in any case.
    if (idMaps && process.geteuid!() === 0) {
      mount ??= cloneMount(path);
      await mapIds(mount, idMaps, kept.dir);
    }
  } catch (error) {
    mount?.close();
    if (error instanceof Error && 'syscall' in error && !(error instanceof SyscallError)) {
      const { code } = error as NodeJS.ErrnoException;
      throw new NsError('ERR_NS_ROOTFS', `writable.dir: ${kept.dir} cannot be made (${code})`, {
        hint: 'Choose a directory that this user may write to',
        cause: error,
      });
    }
    throw error;
  }
  return {
    name: kept.dir,
    path: mount?.procPath ?? path,
    upper: 'upper',
    work: 'work',
    mount,
    limit: sized && {
      method: sized.method,
      sizeBytes: sized.sizeBytes,
      ...(sized.inodes !== undefined && { inodes: sized.inodes }),
    },
    [Symbol.dispose]: () => mount?.close(),
  };
}

/** What one kind of root has written, the other would not show. */
function assertSameKind(path: string, { dir }: KeptWrites, { assembled }: { readonly assembled: boolean }): void {
  const other = join(path, assembled ? 'upper' : 'root.upper');
  if (!existsSync(other) || (assembled && readdirSync(other).length === 0)) return;
  throw new SpecError(
    'writable.dir',
    'a directory that keeps the writes of such containers',
    dir,
    `What it has was written ${assembled ? 'to a root that is one layer' : 'to a view of this machine with ids of its own'}, and would not show. Use another directory, or the same rootfs and idMap as before`,
  );
}

/** Gives a detached mount the ids of a container. */
export async function mapIds(mount: OwnedFd, idMaps: IdMaps, dir: string): Promise<void> {
  const unavailable = (why: string) =>
    new UnavailableError(
      `kept writes in ${dir} with ids of the container's own`,
      why,
      'Leave idMap out, or use a tmpfs',
    );
  if (!kernelAtLeast(readHost(), 5, 19))
    throw unavailable('an overlay takes a place to write to with mapped ids since Linux 5.19');
  using namespace = await createUserNamespace(idMaps);
  try {
    idmapMount(mount, namespace);
  } catch (error) {
    if (error instanceof SyscallError && error.code === 'EINVAL') throw unavailable('its file system cannot map ids');
    throw error;
  }
}

async function sizedDirectory({ dir, inodes }: KeptWrites, size: Size, ownIds: boolean): Promise<SizedDirectory> {
  const sizeBytes = parseSize(size, 'writable.size');
  try {
    return await createSizedDirectory(dir, sizeBytes, { ownIds, ...(inodes !== undefined && { inodes }) });
  } catch (error) {
    if (error instanceof SpecError) throw new SpecError(`writable.${error.field}`, error.expected, error.received);
    if (!(error instanceof UnavailableError)) throw error;
    throw new UnavailableError(
      `a size limit for ${dir}`,
      error.message,
      "Use loop devices and e2fsprogs as root, btrfs with quota, ext4 or xfs with project quota and idMap: 'auto', or { size } without a directory",
    );
  }
}
