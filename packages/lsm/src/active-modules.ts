import { allocate, ERRNO, SYS, syscall } from '@ns/libc';
import { readSecurityFile } from './securityfs.ts';

/** LSM_ID_* of <linux/lsm.h>, from 100. */
const names = [
  'capability',
  'selinux',
  'smack',
  'tomoyo',
  'apparmor',
  'yama',
  'loadpin',
  'safesetid',
  'lockdown',
  'bpf',
  'landlock',
  'ima',
  'evm',
  'ipe',
];
const LSM_ID_CAPABILITY = 100;

/**
 * The security modules this kernel runs, in the order they are asked: lsm_list_modules(2) (since 6.8, no privileges), or
 * the file `lsm` of securityfs (needs root).
 *
 * @returns names as the kernel spells them, `lsm_<id>` for one this library does not know; `undefined` when the kernel
 *   does not say
 *
 * @example
 * ```ts
 * listSecurityModules()?.includes('landlock');
 * ```
 */
export function listSecurityModules(): string[] | undefined {
  const room = 64;
  const ids = allocate(room * 8);
  const size = allocate(4);
  size.bytes.writeUInt32LE(ids.bytes.length);
  const count = syscall(SYS.lsm_list_modules, ids.address, size.address, 0);
  if (count >= 0) {
    return Array.from({ length: count }, (_, index) => {
      const id = Number(ids.bytes.readBigUInt64LE(index * 8));
      return names[id - LSM_ID_CAPABILITY] ?? `lsm_${id}`;
    });
  }
  // EPERM: a seccomp filter that does not know the call.
  if (count !== -ERRNO.ENOSYS && count !== -ERRNO.EPERM) return undefined;
  return readSecurityFile('lsm')?.trim().split(',');
}
