import { readFileSync } from 'node:fs';
import {
  addressOf,
  allocate,
  check,
  ERRNO,
  OwnedFd,
  PR,
  prctl,
  SECCOMP,
  SpecError,
  SYS,
  syscall,
  UnavailableError,
} from '@ns/libc';
import { BPF_MAXINSNS, INSTRUCTION_SIZE } from './assembler.ts';
import { SECCOMP_FILTER_FLAG } from './validate-profile.ts';

/** How {@link installFilter} goes about it. */
export interface InstallOptions {
  /** Bits of `SECCOMP_FILTER_FLAG`. Default: those of the profile, when the filter was made by `compile`. */
  readonly flags?: number;
  /**
   * `'set'` (default) sets no_new_privs first, which an ordinary user needs and which cannot be unset; `'keep'` leaves it as it
   * is, and then needs CAP_SYS_ADMIN.
   */
  readonly noNewPrivileges?: 'set' | 'keep';
}

/**
 * Puts the **calling thread** under a filter, for good: seccomp(2). Children made by this thread inherit it.
 *
 * In Node that thread is the one JavaScript runs in; libuv's worker threads, V8's helpers, and with them `fs` and `dns`
 * calls stay outside the filter unless `SECCOMP_FILTER_FLAG.TSYNC` is among the flags. Use it in a `worker_threads` Worker or
 * right before starting a child; to put a child alone under a filter use `@ns/launch`. A call the filter answers with NOTIFY
 * stops this thread until somebody else serves the listener: never serve it from the thread that is under the filter.
 *
 * Needs nothing with no_new_privs, CAP_SYS_ADMIN otherwise. Since Linux 3.17.
 *
 * @param filter - `struct sock_filter` entries in this machine's byte order
 * @returns the listener when `NEW_LISTENER` is among the flags
 * @throws SpecError when the filter is empty, too long or cut off
 * @throws SyscallError EACCES without no_new_privs and CAP_SYS_ADMIN; EINVAL for an instruction, flag or combination the kernel refuses; EBUSY when a listener exists already
 * @throws UnavailableError when the kernel has no seccomp filters
 *
 * @example
 * ```ts
 * import { parentPort } from 'node:worker_threads';
 *
 * // In a Worker: what it starts from here on is under the filter, too.
 * installFilter(compile(profiles.strict));
 * parentPort?.postMessage('under a filter');
 * ```
 */
export function installFilter(
  filter: Uint8Array & { readonly flags?: number },
  options: InstallOptions = {},
): OwnedFd | undefined {
  if (!(filter instanceof Uint8Array)) throw new SpecError('filter', 'the bytes of a filter', filter);
  const count = filter.byteLength / INSTRUCTION_SIZE;
  if (!Number.isInteger(count) || count < 1 || count > BPF_MAXINSNS) {
    throw new SpecError(
      'filter',
      `1 to ${BPF_MAXINSNS} instructions of ${INSTRUCTION_SIZE} bytes`,
      `${filter.byteLength} bytes`,
    );
  }
  const flags = options.flags ?? filter.flags ?? 0;
  if (!Number.isInteger(flags) || flags < 0 || flags > 0xffffffff)
    throw new SpecError('flags', 'bits of SECCOMP_FILTER_FLAG', flags);
  // struct sock_fprog: u16 len, then the address.
  const program = allocate(16);
  program.bytes.writeUInt16LE(count, 0);
  program.bytes.writeBigUInt64LE(BigInt(addressOf(filter)), 8);
  if (options.noNewPrivileges !== 'keep')
    check('prctl', prctl(PR.SET_NO_NEW_PRIVS, 1), { doing: 'setting no_new_privs' });
  const result = syscall(SYS.seccomp, SECCOMP.SET_MODE_FILTER, flags, program.address);
  if (result === -ERRNO.ENOSYS) {
    throw new UnavailableError(
      'seccomp filters',
      'the kernel was built without CONFIG_SECCOMP_FILTER, or a filter around this process refuses seccomp(2)',
      'Allow seccomp in the profile of the container that this process runs in, or use a kernel with CONFIG_SECCOMP_FILTER',
    );
  }
  check('seccomp', result, { doing: 'installing a seccomp filter', args: { flags, instructions: count } });
  return (flags & SECCOMP_FILTER_FLAG.NEW_LISTENER) === 0 ? undefined : new OwnedFd(result);
}

/**
 * The actions this kernel knows, in its own words (`errno`, `user_notif`): `/proc/sys/kernel/seccomp/actions_avail`, since 4.14.
 *
 * @returns an empty list where the kernel has no filters
 *
 * @example
 * ```ts
 * availableActions().includes('user_notif'); // whether handlers can be had
 * ```
 */
export function availableActions(): string[] {
  try {
    return readFileSync('/proc/sys/kernel/seccomp/actions_avail', 'utf8').trim().split(' ');
  } catch {
    return [];
  }
}
