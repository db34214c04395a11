import { closeSync, openSync, readdirSync } from 'node:fs';
import { allocate, check, SYS, syscall } from '@ns/libc';

const RLIMIT_NOFILE = 7;

/**
 * Sets this process's soft limit of open files (RLIMIT_NOFILE, prlimit(2)), until it is disposed of: descriptors have numbers
 * below it, so with 3 none can be opened. Needs no privileges up to the hard limit.
 *
 * @throws SyscallError `EINVAL` above the hard limit
 *
 * @example
 * ```ts
 * import { openSync } from 'node:fs';
 *
 * using _limit = limitDescriptors(3);
 * expect(() => openSync('/dev/null', 'r')).toThrow('EMFILE');
 * ```
 */
export function limitDescriptors(soft: number): Disposable {
  const { bytes, address } = allocate(16); // struct rlimit64: soft, hard
  check('prlimit64', syscall(SYS.prlimit64, 0, RLIMIT_NOFILE, 0, address));
  const before = bytes.readBigUInt64LE();
  const set = (value: bigint) => {
    bytes.writeBigUInt64LE(value);
    check('prlimit64', syscall(SYS.prlimit64, 0, RLIMIT_NOFILE, address, 0));
  };
  set(BigInt(soft));
  return { [Symbol.dispose]: () => set(before) };
}

/**
 * As {@link limitDescriptors}, but all numbers below the limit are in use, but for so many.
 *
 * @example
 * ```ts
 * import { openSync } from 'node:fs';
 *
 * using _limit = leaveDescriptors(0);
 * expect(() => openSync('/dev/null', 'r')).toThrow('EMFILE');
 * ```
 */
export function leaveDescriptors(count: number): Disposable {
  const highest = Math.max(...readdirSync('/proc/self/fd').map(Number));
  const fillers: number[] = [];
  do fillers.push(openSync('/dev/null', 'r'));
  while (fillers.at(-1)! < highest);
  const limit = limitDescriptors(fillers.at(-1)! + 1 + count);
  return {
    [Symbol.dispose]: () => {
      limit[Symbol.dispose]();
      for (const fd of fillers) closeSync(fd);
    },
  };
}
