import { check, getXattr, removeXattr, setXattr } from '@ns/libc';
import { overlayPrefixes, xattrNames } from './xattr-names.ts';

const keyOf = (attribute: string): string | undefined => {
  const prefix = overlayPrefixes.find((candidate) => attribute.startsWith(candidate));
  return prefix && attribute.slice(prefix.length);
};

/**
 * What a layer means without the layers it was made on. `origin`, `impure`, `nlink`, `uuid` and the like tie an upper to its
 * lowers, and a kernel with index=on refuses them elsewhere (ESTALE).
 */
const portable: ReadonlySet<string> = new Set(['opaque', 'whiteout']);

/**
 * Marks a file for mounts with and without `userxattr`: a layer shall mean the same to both. One of the two is enough where the
 * other cannot be had: `trusted.` needs CAP_SYS_ADMIN in the initial user namespace, `user.` on a tmpfs Linux 6.6.
 */
export function markForAnyMount(dirFd: number, name: string, path: string, key: string, value: Buffer): void {
  const results = (['trusted', 'user'] as const).map((space) => {
    const attribute = `${space}.overlay.${key}`;
    return { attribute, result: setXattr(dirFd, name, attribute, value) };
  });
  if (results.some(({ result }) => result === 0)) return;
  for (const { attribute, result } of results) check('setxattr', result, { path, args: { attribute } });
}

/** Carries overlayfs's attributes from one file to another. */
export function applyOverlayXattrs(
  fromDirFd: number,
  fromName: string,
  toDirFd: number,
  toName: string,
  path: string,
  which: 'keep' | 'keep-opaque',
): void {
  for (const attribute of xattrNames(fromDirFd, fromName)) {
    const key = keyOf(attribute);
    if (key === undefined || (which === 'keep-opaque' && !portable.has(key))) continue;
    const value = getXattr(fromDirFd, fromName, attribute);
    if (!value) continue;
    if (which === 'keep-opaque') markForAnyMount(toDirFd, toName, path, key, value);
    else check('setxattr', setXattr(toDirFd, toName, attribute, value), { path, args: { attribute } });
  }
}

/** Makes a directory forget that it was part of an overlay. */
export function removeOverlayXattrs(dirFd: number, name: string): void {
  for (const attribute of xattrNames(dirFd, name)) {
    if (keyOf(attribute) !== undefined)
      check('removexattr', removeXattr(dirFd, name, attribute), { path: name, args: { attribute } });
  }
}
