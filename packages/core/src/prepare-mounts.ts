import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AsyncResourceStack,
  hasCode,
  type OwnedFd,
  ResourceStack,
  rollBack,
  SyscallError,
  UnavailableError,
} from '@ns/libc';
import { cloneMount, createUserNamespace, idmapMount } from '@ns/mounts';
import type { IdLease } from '@ns/namespaces';
import { flatten } from '@ns/overlayfs';
import { copyUp, openImage } from './copy-up.ts';
import { hasOwnIds } from './mapped-layers.ts';
import type { BindMountSpec, MountSpec, VolumeMountSpec } from './mount-spec.ts';
import { copiedUp, type MountContext, type MountSource, mountSource } from './mounts.ts';
import type { ContainerReference } from './namespaces-of-others.ts';
import { type ResolvedRoot, resolveRoot } from './rootfs.ts';
import { mountLabelOf } from './security-modules.ts';
import { sharesMemoryWith, takeSharedMemory } from './shared-memory.ts';
import { sharesMounts } from './shared-mounts.ts';
import type { ContainerSpec } from './types.ts';
import { resolveUser } from './user.ts';
import { resolveIdMaps } from './user-namespace.ts';
import { volumeStore, volumeUseFile } from './volume-store.ts';

/** What mounts of a container hold on the host. */
export interface PreparedMounts extends AsyncDisposable {
  /** Detached mounts, by the names that steps use. */
  readonly fds: ReadonlyMap<string, OwnedFd>;
  /** Names of those that are the layers of the root, when their ids are mapped. */
  readonly layers: readonly string[];
  /** Files that say which volumes are in use. */
  readonly files: readonly string[];
}

/** What is mounted besides the mounts of a specification. */
interface PreparationOptions {
  readonly layers?: ReadonlyMap<string, OwnedFd>;
  readonly memoryOf?: ContainerReference | undefined;
}

/** Is there anything to make before such mounts can be mounted? */
export function needsPreparation(spec: ContainerSpec): boolean {
  const { mounts = [] } = spec;
  if ((!sharesMounts(spec) && hasOwnIds(spec) && !resolveRoot(spec).host) || sharesMemoryWith(spec) !== undefined)
    return true;
  return mounts.some(
    (mount) =>
      mount.type === 'volume' ||
      (mount.type === 'tmpfs' && copiedUp(mount, 0) !== undefined) ||
      (isBind(mount) && (mount.owner !== undefined || mount.options?.some((option) => option.endsWith('idmap')))),
  );
}

/** What the mounts of a specification depend on. */
export function mountContext(spec: ContainerSpec, lease: IdLease | undefined): MountContext {
  const root = resolveRoot(spec);
  const user = resolveUser(spec.user, spec.groups, root.layers);
  return {
    ids: { idMaps: resolveIdMaps(spec, lease), user },
    canCloneMounts: process.geteuid!() === 0,
    mountLabel: mountLabelOf(spec),
  };
}

/**
 * Takes volumes into use, made and filled where this is their first, and maps ids.
 *
 * @param user - from {@link volumeUser}
 * @param mounts - with their indices in the specification
 * @param options - `layers` from `mapLayers`, which are closed with the rest; `memoryOf`: the container whose /dev/shm it shares
 * @throws NsError `ERR_NS_MOUNT_SOURCE`
 * @throws UnavailableError a file system or kernel that cannot map ids
 */
export async function prepareMounts(
  user: string,
  root: ResolvedRoot,
  mounts: readonly MountSpec[],
  context: MountContext,
  { layers = new Map(), memoryOf }: PreparationOptions = {},
): Promise<PreparedMounts> {
  const fds = new Map(layers);
  const volumes = new Set<string>();
  const store = volumeStore();
  const held = new AsyncResourceStack();
  const release = () => held[Symbol.asyncDispose]();
  const hold = (handle: string, fd: OwnedFd) => fds.set(handle, held.use(fd));
  for (const fd of layers.values()) held.use(fd);
  try {
    if (memoryOf !== undefined) hold(...(await takeSharedMemory(memoryOf)));
    for (const [index, mount] of mounts.entries()) {
      if (mount.type === 'tmpfs') {
        const handle = copiedUp(mount, index);
        if (handle !== undefined) hold(handle, await copyUp(mount, index, root, context));
      }
      if (mount.type !== 'volume' && !isBind(mount)) continue;
      if (mount.type === 'volume') {
        await useVolume(mount.source, user);
        held.defer(() => store.release(mount.source, user));
        volumes.add(mount.source);
        await fillVolume(mount, root);
      }
      const source = mountSource(mount, index, context);
      if (source.handle !== undefined) hold(source.handle, await detach(source, mount));
    }
  } catch (error) {
    throw await rollBack(error, release);
  }
  return {
    fds,
    layers: [...layers.keys()],
    files: [...volumes].map((name) => volumeUseFile(name, user)),
    [Symbol.asyncDispose]: release,
  };
}

/** A detached mount of a source, with its ids mapped where they must be. */
export async function detach(
  { path, recursive, maps }: MountSource,
  { owner = 'keep' }: BindMountSpec | VolumeMountSpec,
): Promise<OwnedFd> {
  using rollback = new ResourceStack();
  try {
    const mount = rollback.use(cloneMount(path, { recursive }));
    if (maps) {
      using namespace = await createUserNamespace(maps);
      idmapMount(mount, namespace, { recursive });
    }
    rollback.release();
    return mount;
  } catch (error) {
    if (!(error instanceof SyscallError) || !maps) throw error;
    throw new UnavailableError(
      `owner: '${owner}' for ${path}`,
      error.code === 'EPERM'
        ? 'an id-mapped mount takes CAP_SYS_ADMIN on the host'
        : `its file system, or one mounted below it, cannot map ids (${error.message})`,
      error.code === 'EPERM'
        ? 'Run as root, or leave owner out'
        : 'Use ext4, xfs, btrfs or tmpfs on a recent kernel, or recursive: false, or leave owner out',
    );
  }
}

async function useVolume(name: string, user: string): Promise<void> {
  const store = volumeStore();
  try {
    await store.use(name, user);
  } catch (error) {
    if (!hasCode(error, 'ERR_NS_NO_SUCH_VOLUME')) throw error;
    try {
      await store.create({ name });
    } catch (raced) {
      if (!hasCode(raced, 'ERR_NS_VOLUME_EXISTS')) throw raced;
    }
    await store.use(name, user);
  }
}

/** What the host has at a place is no image's default content, and may be what a sandbox shall not see. */
async function fillVolume({ source, target }: VolumeMountSpec, root: ResolvedRoot): Promise<void> {
  if (!root.host) await fill(source, target, root.layers);
}

async function fill(volume: string, target: string, layers: readonly string[]): Promise<void> {
  if (layers.length > 1 && process.geteuid!() !== 0) {
    await fillFromCopy(volume, target, layers);
    return;
  }
  using image = openImage(layers);
  await volumeStore().populate(volume, image, target);
}

/** Where layers cannot be mounted one above another, a copy shows what they have together: links in it lead through all of them. */
async function fillFromCopy(volume: string, target: string, layers: readonly string[]): Promise<void> {
  const copy = await mkdtemp(join(tmpdir(), 'ns-image-'));
  try {
    await flatten(layers, copy);
    await volumeStore().populate(volume, copy, target);
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

function isBind(mount: MountSpec): mount is BindMountSpec {
  return mount.type === undefined || mount.type === 'bind';
}
