import { type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseSize } from '@ns/cgroups';
import type { MountStep } from '@ns/launch';
import { fileCall, hasCode, NsError, SpecError, type SyscallError } from '@ns/libc';
import type { UserNamespaceMaps } from '@ns/mounts';
import { readMountOptions } from './mount-options.ts';
import { type ContainerIds, mapsForOwner } from './mount-ownership.ts';
import type { BindMountSpec, MountSpec, TmpfsMountSpec, VolumeMountSpec } from './mount-spec.ts';
import { checkTmpfsOptions } from './tmpfs-options.ts';
import { volumeRoot } from './volume-store.ts';

/** What mounts depend on besides themselves. */
export interface MountContext {
  readonly ids: ContainerIds;
  /** May this process clone mounts of the host? */
  readonly canCloneMounts: boolean;
  /** SELinux label of the files of file systems that are made for it. */
  readonly mountLabel?: string | undefined;
}

/** Where the files of a mount come from. */
export interface MountSource {
  readonly path: string;
  readonly type: 'directory' | 'file';
  readonly recursive: boolean;
  /** Ids have to be mapped, and how. */
  readonly maps: UserNamespaceMaps | undefined;
  /** Name of the descriptor by which the container gets it; without, it is opened by path. */
  readonly handle: string | undefined;
}

/** The step for a mount of a specification. Throws as {@link mountSource}. */
export function resolveMount(mount: MountSpec, index: number, context: MountContext): MountStep {
  switch (mount.type) {
    case 'tmpfs':
      return tmpfsStep(mount, index);
    case 'file': {
      const { target, content, mode = 0o444, uid = 0, gid = 0 } = mount;
      return { op: 'file', target, content: Buffer.from(content), mode, uid, gid };
    }
    default: {
      const { attributes, propagation } = readMountOptions(mount, `mounts[${index}].options`);
      const { path, type, recursive, handle } = mountSource(mount, index, context);
      const chosen = (mount.type === 'volume' ? undefined : mount.propagation) ?? propagation;
      return {
        op: 'bind',
        source: handle === undefined ? path : { fd: handle },
        target: mount.target,
        type,
        attributes,
        recursive,
        ...(chosen && { propagation: chosen }),
      };
    }
  }
}

/**
 * Decides how the files of a bind or a volume get into the container. Looks at the source; changes nothing.
 *
 * @throws NsError `ERR_NS_MOUNT_SOURCE` when the source of a bind does not exist, or cannot be looked at
 * @throws SpecError for options that only a file system has
 */
export function mountSource(
  mount: BindMountSpec | VolumeMountSpec,
  index: number,
  { ids, canCloneMounts }: MountContext,
): MountSource {
  const field = `mounts[${index}]`;
  const { recursive, keepsOwner, copiesUp, data } = readMountOptions(mount, `${field}.options`);
  const [unknown] = [...Object.keys(data), ...(copiesUp ? ['tmpcopyup'] : [])];
  if (unknown !== undefined) throw new SpecError(`${field}.options`, 'options of a bind', unknown);
  const isVolume = mount.type === 'volume';
  const path = isVolume ? join(volumeRoot(), mount.source, 'data') : mount.source;
  const stat = lookAt(path, field);
  if (!stat && !isVolume) {
    throw new NsError('ERR_NS_MOUNT_SOURCE', `${field}.source: ${path} does not exist`, {
      hint: 'Make it first: nothing is created on the host for a mount',
    });
  }
  const owner = mount.owner ?? (keepsOwner || (isVolume && canCloneMounts) ? 'keep' : undefined);
  const maps = mapsForOwner(owner, stat ?? { uid: 0, gid: 0 }, ids);
  const label = isVolume ? `volume ${mount.source}` : path;
  // Volumes are where nobody but their owner may go: the container's own users could not open them by path.
  const detached = maps !== undefined || (isVolume && canCloneMounts);
  return {
    path,
    type: !stat || stat.isDirectory() ? 'directory' : 'file',
    recursive: isVolume ? false : (mount.recursive ?? recursive ?? true),
    maps,
    handle: detached ? `${label}${maps ? ' with mapped ids' : ''} (mounts[${index}])` : undefined,
  };
}

function lookAt(path: string, field: string): Stats | undefined {
  try {
    // Not by throwIfNoEntry: since Node 24 what is below a file is not there, either.
    return fileCall(path, () => statSync(path));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    const { code, hint = 'Name what this user can open' } = error as SyscallError;
    const message = `${field}.source: ${path} cannot be looked at (${code})`;
    throw new NsError('ERR_NS_MOUNT_SOURCE', message, { hint, cause: error });
  }
}

function tmpfsStep(mount: TmpfsMountSpec, index: number): MountStep {
  const { target } = mount;
  const { attributes } = readMountOptions(mount, `mounts[${index}].options`);
  const handle = copiedUp(mount, index);
  if (handle === undefined)
    return { op: 'mount', type: 'tmpfs', target, options: tmpfsOptions(mount, index), attributes };
  return { op: 'bind', source: { fd: handle }, target, type: 'directory', attributes, recursive: false };
}

/** Options of the file system of a tmpfs. */
export function tmpfsOptions(mount: TmpfsMountSpec, index: number): Record<string, string | true> {
  const { size, mode = 0o1777 } = mount;
  const field = `mounts[${index}].options`;
  const { data, own } = readMountOptions(mount, field);
  checkTmpfsOptions(own, field);
  return {
    mode: mode.toString(8),
    ...(size !== undefined && { size: String(parseSize(size, `mounts[${index}].size`)) }),
    ...data,
  };
}

/** Name of the descriptor of a tmpfs that begins with what the image has at its target; undefined for an empty one. */
export function copiedUp(mount: TmpfsMountSpec, index: number): string | undefined {
  if (!readMountOptions(mount, `mounts[${index}].options`).copiesUp) return undefined;
  return `tmpfs with what the image has in ${mount.target} (mounts[${index}])`;
}
