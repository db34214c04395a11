import { SpecError } from '@ns/libc';

/** __NEW_UTS_LEN of <linux/utsname.h>, in bytes. */
const MAX_BYTES = 64;

/**
 * Checks a host name for a uts namespace: 1 to 64 bytes without white space and control characters. The kernel would take
 * those (but NUL), and they would then stand in `/etc/hosts` and in prompts.
 *
 * @returns the name
 * @throws SpecError
 *
 * @example
 * ```ts
 * checkHostname('web-1'); // 'web-1'
 * ```
 */
export function checkHostname(name: string, field = 'hostname'): string {
  return checkUtsName(name, field);
}

/**
 * The same for a NIS domain name; `(none)` is what the kernel begins with.
 *
 * @throws SpecError
 *
 * @example
 * ```ts
 * checkDomainname('example.org');
 * ```
 */
export function checkDomainname(name: string, field = 'domainname'): string {
  return checkUtsName(name, field);
}

function checkUtsName(name: string, field: string): string {
  if (typeof name !== 'string' || name === '') throw new SpecError(field, 'a name', name);
  if (Buffer.byteLength(name) > MAX_BYTES) throw new SpecError(field, `at most ${MAX_BYTES} bytes`, name);
  if (/[\s\x00-\x1f\x7f/]/.test(name))
    throw new SpecError(field, 'a name without white space, control characters and slashes', name);
  return name;
}
