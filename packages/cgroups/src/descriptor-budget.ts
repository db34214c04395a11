import { allocate, SYS, syscall } from '@ns/libc';

const RLIMIT_NOFILE = 7;

/** Descriptors that are never used for convenience: a quarter of those this process may have, and at least these. */
const leastReserve = 1_024;

let left: number | undefined;

function limit(): number {
  const rlimit = allocate(16);
  const result = syscall(SYS.prlimit64, 0, RLIMIT_NOFILE, 0, rlimit.address);
  const descriptors = result < 0 ? 0 : Number(rlimit.bytes.readBigUInt64LE(0));
  return Math.floor(descriptors - Math.max(descriptors / 4, leastReserve));
}

/** Counts a descriptor that has to be: less is left for those that are a convenience. */
export function countDescriptor(): void {
  left = (left ?? limit()) - 1;
}

/**
 * Asks for a descriptor that is only a convenience. With thousands of cgroups the answer becomes no, and files are
 * opened each time they are read, instead of this process running out of descriptors for what matters.
 */
export function takeDescriptor(): boolean {
  left ??= limit();
  if (left <= 0) return false;
  left--;
  return true;
}

/** Gives back what {@link takeDescriptor} granted and {@link countDescriptor} counted. */
export function giveBackDescriptors(count: number): void {
  if (left !== undefined) left += count;
}
