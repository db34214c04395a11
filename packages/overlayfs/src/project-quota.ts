import { allocate, check, ERRNO, ioctl, type OwnedFd, SYS, statFd, syscall, UnavailableError } from '@ns/libc';

/* Project quota of ext4 and xfs: a directory tree with an id of its own, and a limit for the id. What is made in the tree
   inherits the id. In the initial user namespace whoever owns a file may give it another one (FS_IOC_FSSETXATTR, through an
   overlay too), and write on without a limit; in any other user namespace the kernel answers EINVAL. So this bounds only
   those who have ids of their own: tried on Linux 6.1 and 6.12. */

/** <linux/fs.h>: struct fsxattr, with its flags at 0 and the project id at 12 */
const FS_IOC_FSGETXATTR = 0x801c581f;
const FS_IOC_FSSETXATTR = 0x401c5820;
const FS_XFLAG_PROJINHERIT = 0x200;
const FSXATTR_SIZE = 28;
/** <linux/quota.h>: QCMD(Q_GETQUOTA or Q_SETQUOTA, PRJQUOTA) on a struct if_dqblk */
const GET_PROJECT_QUOTA = 0x80000702;
const SET_PROJECT_QUOTA = 0x80000802;
const QIF_BLIMITS = 1;
const QIF_ILIMITS = 4;
const QUOTA_BLOCK = 1024;
/** Ids of ours, out of the way of those that people choose by hand. */
const FIRST_ID = 0x40000000;
const IDS = 0x40000000;
const TRIES = 1000;

const unavailable = (why: string): UnavailableError =>
  new UnavailableError('project quota', why, 'Mount ext4 (made with -O quota,project) or xfs with the option prjquota');

/**
 * Limits what may be written below an empty directory by those who are in a user namespace of their own. Needs
 * CAP_SYS_ADMIN, since Linux 5.14 (quotactl_fd). The id is free again when the directory is removed.
 *
 * @throws UnavailableError where the file system has no project quota
 */
export function limitProject(directory: OwnedFd, maxBytes: number, maxInodes = 0): void {
  const attributes = allocate(FSXATTR_SIZE);
  if (ioctl(directory.fd, FS_IOC_FSGETXATTR, attributes.address) < 0)
    throw unavailable('the file system has no project ids');
  const project = freeProject(directory);
  attributes.bytes.writeUInt32LE((attributes.bytes.readUInt32LE(0) | FS_XFLAG_PROJINHERIT) >>> 0, 0);
  attributes.bytes.writeUInt32LE(project, 12);

  const quota = allocate(72);
  quota.bytes.writeBigUInt64LE(BigInt(Math.ceil(maxBytes / QUOTA_BLOCK)), 0);
  quota.bytes.writeBigUInt64LE(BigInt(maxInodes), 24);
  // Both, because whoever had the id before may have left a limit.
  quota.bytes.writeUInt32LE(QIF_BLIMITS | QIF_ILIMITS, 64);
  check('quotactl_fd', syscall(SYS.quotactl_fd, directory.fd, SET_PROJECT_QUOTA, project, quota.address), {
    doing: 'limit a project',
  });
  // Last, so that there is no directory that says it is limited and is not.
  check('ioctl', ioctl(directory.fd, FS_IOC_FSSETXATTR, attributes.address), {
    doing: 'give a directory a project id',
  });
}

/** An id that no file has. The search begins at the directory's inode number: those that search at once seldom meet. */
function freeProject(directory: OwnedFd): number {
  const first = Number(statFd(directory.fd).ino % BigInt(IDS));
  for (let n = 0; n < TRIES; n++) {
    const project = FIRST_ID + ((first + n) % IDS);
    if (filesOf(directory, project) === 0n) return project;
  }
  throw unavailable(`${TRIES} project ids in a row are taken`);
}

/** How many files have a project id: none, and it is free, whatever limit is left on it. */
function filesOf(directory: OwnedFd, project: number): bigint {
  const quota = allocate(72);
  const result = syscall(SYS.quotactl_fd, directory.fd, GET_PROJECT_QUOTA, project, quota.address);
  if (result === -ERRNO.ENOSYS) throw unavailable('it takes Linux 5.14 and a file system with quota');
  if (result === -ERRNO.EPERM) throw unavailable('limits take CAP_SYS_ADMIN on the host');
  if (result === -ERRNO.ENOENT) return 0n;
  if (result < 0) throw unavailable('quota for projects is not turned on');
  return quota.bytes.readBigUInt64LE(40);
}
