import { readFileSync } from 'node:fs';
import { fsconfigCreate, fsmount, fsopen, NsError, O, type OwnedFd, openat2, RESOLVE, write } from '@ns/libc';

/**
 * Opens a file of securityfs. It is mounted out of sight for that, so it need not be mounted at /sys/kernel/security, and
 * nothing that somebody mounted there can pretend to be it. Needs CAP_SYS_ADMIN in the initial user namespace.
 *
 * @throws SyscallError `ENOENT` when no such file exists, `EPERM` without the capability
 */
function openSecurityFile(path: string, flags: number): OwnedFd {
  using context = fsopen('securityfs');
  fsconfigCreate(context.fd);
  using mount = fsmount(context.fd);
  return openat2(mount.fd, path, { flags, resolve: RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS });
}

/** Content of a file of securityfs, or `undefined` when it does not exist or may not be read. */
export function readSecurityFile(path: string): string | undefined {
  try {
    using file = openSecurityFile(path, O.RDONLY);
    return readFileSync(file.fd, 'utf8');
  } catch (error) {
    if (error instanceof NsError) return undefined;
    throw error;
  }
}

/** Writes a file of securityfs with one write(2), as policy interfaces demand. Errors as for {@link openSecurityFile}. */
export function writeSecurityFile(path: string, content: Uint8Array): void {
  using file = openSecurityFile(path, O.WRONLY);
  write(file.fd, content);
}
