import { existsSync, truncateSync, writeFileSync } from 'node:fs';
import {
  allocate,
  check,
  ERRNO,
  ioctl,
  NsError,
  O,
  type OwnedFd,
  open,
  SyscallError,
  UnavailableError,
  withDescriptorsForChild,
} from '@ns/libc';
import { createMount } from '@ns/mounts';
import { lockPatiently } from './lock-patiently.ts';

/* <linux/loop.h> */
const LOOP_CTL_GET_FREE = 0x4c82;
const LOOP_CONFIGURE = 0x4c0a; // since 5.8
const LO_FLAGS_AUTOCLEAR = 4;
const CONFIG_SIZE = 304;
const FLAGS_AT = 60;
const RACES = 32;
/** The kernel frees a loop device a moment after its last mount is gone. */
const LOCK_WAIT_MS = 2_000;

// Root's own places: whoever can change PATH does not decide what formats a disk.
const MKFS_PATH = '/usr/sbin:/sbin:/usr/bin:/bin';

/**
 * Makes a file that holds an ext4 of a given size. It takes the space only as it is used.
 *
 * @param inodes - how many files fit; default: as mkfs.ext4 thinks, one for each 16 KiB
 * @throws UnavailableError when mkfs.ext4 is not installed
 */
export async function createLoopImage(path: string, sizeBytes: number, inodes?: number): Promise<void> {
  writeFileSync(path, '', { mode: 0o600, flag: 'wx' });
  truncateSync(path, sizeBytes);
  const { execa } = await import('execa');
  // Scratch space: no journal to write everything twice, nothing reserved for root.
  const result = await withDescriptorsForChild(() =>
    execa(
      'mkfs.ext4',
      [
        ...['-q', '-F', '-m', '0', '-O', '^has_journal', '-E', 'lazy_itable_init=1'],
        // Eleven are the file system's own.
        ...(inodes === undefined ? [] : ['-N', String(inodes + 11)]),
        path,
      ],
      {
        reject: false,
        stdin: 'ignore',
        extendEnv: false,
        env: { PATH: MKFS_PATH },
      },
    ),
  );
  if (result.code === 'ENOENT')
    throw new UnavailableError('loop images', 'mkfs.ext4 is not installed', 'Install e2fsprogs');
  if (result.exitCode !== 0)
    throw new UnavailableError(
      'loop images',
      `mkfs.ext4 failed: ${result.stderr || result.shortMessage}`,
      'Likely the size is too small for an ext4, or the directory is full',
    );
}

/**
 * A detached mount of an image file. Loop device and mount are gone when the last descriptor and mount of it are, also when
 * this process is killed (LO_FLAGS_AUTOCLEAR). Needs CAP_SYS_ADMIN in the initial user namespace and /dev/loop-control;
 * since Linux 5.8.
 *
 * @throws UnavailableError without loop devices
 * @throws NsError `ERR_NS_IN_USE`: it is mounted already
 */
export async function mountLoopImage(path: string): Promise<OwnedFd> {
  if (!existsSync('/dev/loop-control'))
    throw new UnavailableError('loop images', '/dev/loop-control is missing', 'modprobe loop');
  // Two mounts of one image destroy it. The lock is that of the open file, which the loop device keeps for as long as it lives.
  using image = open(path, O.RDWR);
  if (!(await lockPatiently(image, LOCK_WAIT_MS)))
    throw new NsError('ERR_NS_IN_USE', `${path} is mounted already`, {
      hint: 'One container at a time can write to it: stop the other one',
    });
  try {
    using device = attachLoop(path, image);
    return createMount({ type: 'ext4', source: device.path, options: ['nosuid', 'nodev', 'noatime'] });
  } catch (error) {
    if (!(error instanceof SyscallError) || !['EACCES', 'EPERM'].includes(error.code)) throw error;
    throw new UnavailableError(
      'loop images',
      `mounting one takes CAP_SYS_ADMIN on the host (${error.message})`,
      'Run as root',
    );
  }
}

/** The device is freed when its last descriptor is closed, so it stays open until it is mounted. */
function attachLoop(path: string, image: OwnedFd): Disposable & { path: string } {
  using control = open('/dev/loop-control', O.RDWR);
  const config = allocate(CONFIG_SIZE);
  config.bytes.writeUInt32LE(image.fd, 0);
  config.bytes.writeUInt32LE(LO_FLAGS_AUTOCLEAR, FLAGS_AT);
  for (let race = 0; ; race++) {
    const number = check('ioctl', ioctl(control.fd, LOOP_CTL_GET_FREE), { path: '/dev/loop-control' });
    const devicePath = `/dev/loop${number}`;
    if (!existsSync(devicePath))
      throw new UnavailableError('loop images', `${devicePath} is missing`, 'Make the device nodes of loop devices');
    const device = open(devicePath, O.RDWR);
    const result = ioctl(device.fd, LOOP_CONFIGURE, config.address);
    if (result >= 0) return { path: devicePath, [Symbol.dispose]: () => device.close() };
    device.close();
    // Somebody else took the free one first.
    if (result !== -ERRNO.EBUSY || race === RACES)
      check('ioctl', result, { path: devicePath, doing: `attach ${path} to a loop device` });
  }
}
