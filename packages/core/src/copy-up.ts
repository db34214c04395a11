import { O, type OwnedFd, open, ResourceStack, SpecError, SyscallError, UnavailableError } from '@ns/libc';
import { createMount, resolveInRoot } from '@ns/mounts';
import { copyTree, createOverlay } from '@ns/overlayfs';
import { ownersOutside } from './file-owners.ts';
import type { TmpfsMountSpec } from './mount-spec.ts';
import { type MountContext, tmpfsOptions } from './mounts.ts';
import type { ResolvedRoot } from './rootfs.ts';

/** What the layers of an image show together. */
export function openImage(layers: readonly string[]): OwnedFd {
  return layers.length > 1 ? createOverlay({ lower: layers }) : open(layers[0]!, O.PATH | O.DIRECTORY);
}

/**
 * A detached tmpfs that begins with what the image has at its target, as `tmpcopyup` of the OCI runtime specification says. The
 * target is resolved inside the image (CVE-2022-23648).
 *
 * @throws UnavailableError for an ordinary user
 * @throws SpecError the root is the host's, whose files are no image's
 */
export async function copyUp(
  mount: TmpfsMountSpec,
  index: number,
  root: ResolvedRoot,
  { ids: { idMaps }, canCloneMounts, mountLabel }: MountContext,
): Promise<OwnedFd> {
  if (root.host)
    throw new SpecError(`mounts[${index}].options`, 'options for a root of its own', 'tmpcopyup', 'Give a rootfs');
  if (!canCloneMounts)
    throw new UnavailableError(
      'tmpcopyup',
      'an ordinary user cannot fill a mount before it is attached',
      'Use a volume',
    );
  const outside = idMaps && ownersOutside(idMaps);
  const owner = outside?.({ uid: 0, gid: 0 }) ?? { uid: 0, gid: 0 };
  using image = openImage(root.layers);
  const source = isDirectory(image, mount.target);
  const options = [
    `uid=${owner.uid}`,
    `gid=${owner.gid}`,
    ...Object.entries(tmpfsOptions(mount, index)).map(([key, value]) => (value === true ? key : `${key}=${value}`)),
    ...(mountLabel === undefined ? [] : [`context=${mountLabel}`]),
  ];
  using rollback = new ResourceStack();
  const tmpfs = rollback.use(createMount({ type: 'tmpfs', options }));
  const policy = { ownership: 'keep', ...(outside && { mapOwner: outside }) } as const;
  if (source) await copyTree(image, `${mount.target}/.`, tmpfs, '/', policy);
  rollback.release();
  return tmpfs;
}

/** An image that has something else there, or nothing, has nothing to begin with. */
function isDirectory(image: OwnedFd, path: string): boolean {
  try {
    using _directory = resolveInRoot(image.fd, `${path}/.`);
    return true;
  } catch (error) {
    if (error instanceof SyscallError && ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(error.code)) return false;
    throw error;
  }
}
