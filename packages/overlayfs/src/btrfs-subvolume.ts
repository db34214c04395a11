import {
  allocate,
  check,
  ERRNO,
  encodeFileName,
  fileSystemMagic,
  ioctl,
  MAGIC,
  SpecError,
  UnavailableError,
} from '@ns/libc';

/* <linux/btrfs.h>: _IOW(0x94, nr, struct of 4096 bytes), and so on. */
const SUBVOL_CREATE_V2 = 0x50009418;
const SNAP_CREATE_V2 = 0x50009417;
const SNAP_DESTROY = 0x5000940f;
const QUOTA_CTL = 0xc0109428;
const QUOTA_CTL_ENABLE = 1n;
const QGROUP_LIMIT = 0x8030942b;
const QGROUP_LIMIT_MAX_RFER = 1n;
const QGROUP_LIMIT_MAX_EXCL = 2n;
const ARGS_SIZE = 4096;

/** Whether an open directory is on btrfs. */
export function isBtrfs(fd: number): boolean {
  return fileSystemMagic(fd) === MAGIC.BTRFS;
}

/** struct btrfs_ioctl_vol_args_v2 or, with the name at 8, btrfs_ioctl_vol_args. */
function volumeArguments(name: string, nameAt: number, fd = 0): ReturnType<typeof allocate> {
  const bytes = encodeFileName(name);
  // BTRFS_SUBVOL_NAME_MAX
  if (bytes.length === 0 || bytes.length > 255 || name.includes('/'))
    throw new SpecError('name', 'a file name of at most 255 bytes', name);
  const memory = allocate(ARGS_SIZE);
  memory.bytes.writeBigInt64LE(BigInt(fd), 0);
  bytes.copy(memory.bytes, nameAt);
  return memory;
}

/** Makes an empty subvolume `name` in the directory `parentFd`. */
export function createSubvolume(parentFd: number, name: string): void {
  check('ioctl', ioctl(parentFd, SUBVOL_CREATE_V2, volumeArguments(name, 56).address), {
    path: name,
    doing: `make the subvolume ${name}`,
  });
}

/** Makes `name` in the directory `parentFd` a writable snapshot of the subvolume `sourceFd`: at once, and taking no space. */
export function snapshotSubvolume(sourceFd: number, parentFd: number, name: string): void {
  check('ioctl', ioctl(parentFd, SNAP_CREATE_V2, volumeArguments(name, 56, sourceFd).address), {
    path: name,
    doing: `take the snapshot ${name}`,
  });
}

/** Removes a subvolume with all in it. False when it is not there, or is a plain directory. */
export function destroySubvolume(parentFd: number, name: string): boolean {
  const result = ioctl(parentFd, SNAP_DESTROY, volumeArguments(name, 8).address);
  if (result === -ERRNO.ENOENT || result === -ERRNO.EINVAL || result === -ERRNO.ENOTTY) return false;
  check('ioctl', result, { path: name, doing: `remove the subvolume ${name}` });
  return true;
}

/**
 * Bounds what a subvolume takes: `referenced` all it shows, `exclusive` what it does not share with others. Turns quota groups
 * on for the file system where they are off.
 *
 * @throws UnavailableError where quota groups cannot be had
 */
export function limitSubvolume(fd: number, kind: 'referenced' | 'exclusive', maxBytes: number): void {
  const enable = allocate(16);
  enable.bytes.writeBigUInt64LE(QUOTA_CTL_ENABLE, 0);
  const enabled = ioctl(fd, QUOTA_CTL, enable.address);
  if (enabled < 0 && enabled !== -ERRNO.EEXIST)
    throw new UnavailableError('btrfs quota groups', 'they cannot be turned on', 'Run btrfs quota enable as root');
  // qgroupid 0 is that of the subvolume the descriptor is in.
  const limit = allocate(48);
  limit.bytes.writeBigUInt64LE(kind === 'referenced' ? QGROUP_LIMIT_MAX_RFER : QGROUP_LIMIT_MAX_EXCL, 8);
  limit.bytes.writeBigUInt64LE(BigInt(maxBytes), kind === 'referenced' ? 16 : 24);
  check('ioctl', ioctl(fd, QGROUP_LIMIT, limit.address), {
    doing: 'limit a btrfs subvolume',
    args: { kind, maxBytes },
  });
}
