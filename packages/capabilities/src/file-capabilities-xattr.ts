import { check, ERRNO, getXattr, O, OwnedFd, open, removeXattr, S, SpecError, setXattr, statFd } from '@ns/libc';
import { decodeFileCapabilities, encodeFileCapabilities, type FileCapabilities } from './file-capabilities.ts';

/** A file: its path, whose last component is never followed when it is a link, or a descriptor, which stays open. */
export type FileReference = string | number | OwnedFd;

const ATTRIBUTE = 'security.capability';

/**
 * The capabilities of a file, `undefined` when it has none: extended attribute `security.capability`. Needs no privilege.
 * Inside a user namespace the kernel shows what counts there (a version 3 of its own root becomes a version 2).
 *
 * @throws SpecError when the file is not a regular one (a symbolic link least of all), or the attribute is malformed
 * @throws SyscallError `ENOENT` and others of openat(2)
 *
 * @example
 * ```ts
 * formatFileCapabilities(readFileCapabilities('/usr/bin/ping')!); // 'cap_net_raw=ep'
 * ```
 */
export function readFileCapabilities(file: FileReference): FileCapabilities | undefined {
  using target = regularFile(file);
  const value = getXattr(target.fd, '', ATTRIBUTE);
  return value && decodeFileCapabilities(value);
}

/**
 * Gives a file capabilities. Needs CAP_SETFCAP (in a user namespace: over the file's owner, and the kernel adds the
 * namespace's `rootId`). A change of the file's content or owner removes them again.
 *
 * @throws SpecError when the file is not a regular one, or `rootId` is no uid
 * @throws SyscallError `EPERM` without CAP_SETFCAP, `EOPNOTSUPP` where the file system has no such attributes
 *
 * @example
 * ```ts
 * writeFileCapabilities('/opt/bin/ping', { permitted: CapabilitySet.of('CAP_NET_RAW'), effective: true });
 * ```
 */
export function writeFileCapabilities(file: FileReference, capabilities: FileCapabilities): void {
  const value = encodeFileCapabilities(capabilities);
  using target = regularFile(file);
  check('setxattr', setXattr(target.fd, '', ATTRIBUTE, value), {
    path: target.path,
    args: { attribute: ATTRIBUTE },
    hint: 'Needs CAP_SETFCAP, and a file system with security attributes',
  });
}

/**
 * Takes all capabilities from a file. Needs CAP_SETFCAP.
 *
 * @returns whether it had any
 * @throws SpecError when the file is not a regular one
 * @throws SyscallError `EPERM` without CAP_SETFCAP
 *
 * @example
 * ```ts
 * removeFileCapabilities('/opt/bin/ping'); // false when it had none
 * ```
 */
export function removeFileCapabilities(file: FileReference): boolean {
  using target = regularFile(file);
  const result = removeXattr(target.fd, '', ATTRIBUTE);
  if (result === -ERRNO.ENODATA || result === -ERRNO.EOPNOTSUPP) return false;
  check('removexattr', result, { path: target.path, args: { attribute: ATTRIBUTE }, hint: 'Needs CAP_SETFCAP' });
  return true;
}

interface RegularFile extends Disposable {
  readonly fd: number;
  readonly path: string;
}

function regularFile(file: FileReference): RegularFile {
  const opened = typeof file === 'string' ? open(file, O.PATH | O.NOFOLLOW) : undefined;
  const fd = opened?.fd ?? (file instanceof OwnedFd ? file.fd : (file as number));
  if (!Number.isInteger(fd) || fd < 0) throw new SpecError('file', 'a path or a descriptor', file);
  const path = typeof file === 'string' ? file : `fd ${fd}`;
  const target = { fd, path, [Symbol.dispose]: () => opened?.close() };
  if ((statFd(fd).mode & S.IFMT) === S.IFREG) return target;
  opened?.close();
  throw new SpecError('file', 'a regular file', path);
}
