import { addressOf, SYS, syscall } from '@ns/libc';

const RLIMIT_NOFILE = 7;

/** Sets this process's soft limit of open files, where one is given: descriptors have numbers below it. Returns the one before. */
export function setSoftNofile(soft: number | undefined): number {
  const limit = new BigUint64Array(2);
  syscall(SYS.prlimit64, 0, RLIMIT_NOFILE, 0, addressOf(limit));
  const old = Number(limit[0]);
  if (soft !== undefined) {
    limit[0] = BigInt(soft);
    syscall(SYS.prlimit64, 0, RLIMIT_NOFILE, addressOf(limit), 0);
  }
  return old;
}
