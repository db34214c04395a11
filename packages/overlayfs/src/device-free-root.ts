import {
  AT_RECURSIVE,
  allocate,
  check,
  MOUNT_ATTR,
  mountSetattr,
  O,
  type OwnedFd,
  open,
  ResourceStack,
  SYS,
  SyscallError,
  syscall,
} from '@ns/libc';
import { cloneMount } from '@ns/mounts';
import { type DirectoryPlace, openDirectory } from './directory-place.ts';

/** A directory to read a tree from. */
interface ReadableRoot extends Disposable {
  readonly directory: OwnedFd;
  /** Nothing below it can be opened as a device, whatever is put in the place of a file meanwhile. */
  readonly deviceFree: boolean;
}

/**
 * Opens a directory to read files below it by name: on its own mount where that is `nodev`, or else on a private copy of the
 * mount that is. A copy takes CAP_SYS_ADMIN and a mount of this mount namespace; without, the result says so.
 *
 * @param crossMounts - what is mounted below is read too
 */
export function openToRead(place: DirectoryPlace, crossMounts: boolean): ReadableRoot {
  using rollback = new ResourceStack();
  const plain = rollback.use(openDirectory(place));
  const nodev = !crossMounts && isNodev(plain);
  const copy = nodev ? undefined : copyWithoutDevices(plain);
  if (copy) rollback.use(copy);
  const directory = copy ? rollback.use(open(copy.procPath, O.RDONLY | O.DIRECTORY)) : plain;
  rollback.release();
  return {
    directory,
    deviceFree: nodev || copy !== undefined,
    [Symbol.dispose]: () => {
      directory.close();
      copy?.close();
      plain.close();
    },
  };
}

function copyWithoutDevices(directory: OwnedFd): OwnedFd | undefined {
  try {
    const copy = cloneMount(directory, { recursive: true });
    try {
      mountSetattr(copy.fd, { set: MOUNT_ATTR.NODEV }, AT_RECURSIVE);
      return copy;
    } catch (error) {
      copy.close();
      throw error;
    }
  } catch (error) {
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}

const ST_NODEV = 4; // <linux/statfs.h>
const buffer = allocate(120);

function isNodev(directory: OwnedFd): boolean {
  check('fstatfs', syscall(SYS.fstatfs, directory.fd, buffer.address));
  return (buffer.bytes.readUInt32LE(80) & ST_NODEV) !== 0;
}
