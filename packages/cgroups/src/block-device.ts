import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { SpecError } from '@ns/libc';

/** `'8:0'` as is. */
const numbers = /^\d{1,4}:\d{1,7}$/;

/**
 * The `major:minor` the io controller knows a device by.
 *
 * A device may be given by these numbers, by its node (`/dev/vda`), or by any file or directory on it. A partition
 * becomes its whole disk: the kernel refuses limits for partitions.
 *
 * @throws SpecError when the path leads to no block device
 */
export function blockDevice(device: unknown, field: string): string {
  if (typeof device === 'string' && numbers.test(device)) return wholeDisk(device);
  const expected = "'major:minor', a block device such as '/dev/vda', or a path on one";
  if (typeof device !== 'string' || !device.startsWith('/') || device.includes('\0'))
    throw new SpecError(field, expected, device);
  const stat = statSync(device, { throwIfNoEntry: false });
  if (!stat) throw new SpecError(field, expected, device, 'There is no such file');
  if (stat.isCharacterDevice()) throw new SpecError(field, expected, device, 'It is a character device');
  const dev = stat.isBlockDevice() ? stat.rdev : stat.dev;
  // glibc's gnu_dev_major and gnu_dev_minor, within the 32 bits the kernel uses.
  const major = (dev >>> 8) & 0xfff;
  const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00);
  if (major === 0)
    throw new SpecError(
      field,
      expected,
      device,
      'Its file system is on no block device (tmpfs, overlay, btrfs): name the device',
    );
  return wholeDisk(`${major}:${minor}`);
}

function wholeDisk(device: string): string {
  try {
    // /sys/dev/block/8:1 -> ../../devices/…/block/sda/sda1, and only partitions have the file "partition".
    const link = readlinkSync(`/sys/dev/block/${device}`);
    if (!statSync(`/sys/dev/block/${device}/partition`, { throwIfNoEntry: false })) return device;
    const disk = link.split('/').at(-2);
    return readFileSync(`/sys/block/${disk}/dev`, 'utf8').trim();
  } catch {
    return device; // no sysfs here: the kernel will say whether it knows the device
  }
}
