import { readFileSync } from 'node:fs';
import {
  allocate,
  check,
  ERRNO,
  fileSystemMagic,
  ioctl,
  type OwnedFd,
  SYS,
  statFd,
  syscall,
  UnavailableError,
} from '@ns/libc';

/* Project quota of ext4 and xfs: a directory tree with an id of its own, and a limit for the id. */

/** <linux/fs.h> */
const FS_IOC_FSGETXATTR = 0x801c581f;
const FS_IOC_FSSETXATTR = 0x401c5820;
const FS_XFLAG_PROJINHERIT = 0x200;
/** <linux/quota.h>: QCMD(Q_GETQUOTA or Q_SETQUOTA, PRJQUOTA) */
const GET_PROJECT_QUOTA = 0x80000702;
const SET_PROJECT_QUOTA = 0x80000802;
const QIF_BLIMITS = 1;
const QIF_ILIMITS = 4;
const QUOTA_BLOCK = 1024;
/** <linux/magic.h> */
const EXT4_SUPER_MAGIC = 0xef53;
const CAP_SYS_RESOURCE = 1n << 24n;

const unavailable = (why: string): UnavailableError =>
  new UnavailableError('project quota', why, 'Mount ext4 (made with -O quota,project) or xfs with the option prjquota');

/**
 * Limits what may be written below an empty directory. Needs CAP_SYS_ADMIN, since Linux 5.14 (quotactl_fd).
 *
 * @throws UnavailableError where the file system has no project quota
 */
export function limitProject(directory: OwnedFd, maxBytes: number, maxInodes?: number): void {
  // An overlay writes to its upper with the capabilities of whoever mounted it; xfs asks nobody.
  if (fileSystemMagic(directory.fd) === EXT4_SUPER_MAGIC && mayExceedQuota())
    throw unavailable('ext4 does not hold a process with CAP_SYS_RESOURCE, such as this one, to it');
  // One id per directory: inode numbers are unique for as long as it lives.
  const project = Number(statFd(directory.fd).ino & 0x7fffffffn) | 0x40000000;
  const attributes = allocate(28);
  if (ioctl(directory.fd, FS_IOC_FSGETXATTR, attributes.address) < 0)
    throw unavailable('the file system has no project ids');
  attributes.bytes.writeUInt32LE(attributes.bytes.readUInt32LE(0) | FS_XFLAG_PROJINHERIT, 0);
  attributes.bytes.writeUInt32LE(project, 12);

  const quota = allocate(72);
  const current = syscall(SYS.quotactl_fd, directory.fd, GET_PROJECT_QUOTA, project, quota.address);
  if (current === -ERRNO.ENOSYS!) throw unavailable('this kernel has no quotactl_fd(2)');
  if (current < 0 && current !== -ERRNO.ENOENT!) throw unavailable('quota for projects is not turned on');
  quota.bytes.fill(0);
  quota.bytes.writeBigUInt64LE(BigInt(Math.ceil(maxBytes / QUOTA_BLOCK)), 0);
  quota.bytes.writeBigUInt64LE(BigInt(maxInodes ?? 0), 24);
  quota.bytes.writeUInt32LE(QIF_BLIMITS | (maxInodes === undefined ? 0 : QIF_ILIMITS), 64);
  check('quotactl_fd', syscall(SYS.quotactl_fd, directory.fd, SET_PROJECT_QUOTA, project, quota.address), {
    doing: 'limit a project',
  });
  // Last, so that there is no directory that says it is limited and is not.
  check('ioctl', ioctl(directory.fd, FS_IOC_FSSETXATTR, attributes.address), {
    doing: 'give a directory a project id',
  });
}

function mayExceedQuota(): boolean {
  const effective = /^CapEff:\t([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return effective !== undefined && (BigInt(`0x${effective}`) & CAP_SYS_RESOURCE) !== 0n;
}
