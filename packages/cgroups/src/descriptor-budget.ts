import { allocate, SYS, syscall } from '@ns/libc';

const RLIMIT_NOFILE = 7;

/** Share of the open files this process may have that is used to keep cgroup files open. */
const share = 0.25;

let left: number | undefined;

function limit(): number {
  const rlimit = allocate(16);
  const result = syscall(SYS.prlimit64, 0, RLIMIT_NOFILE, 0, rlimit.address);
  return result < 0 ? 0 : Math.floor(Number(rlimit.bytes.readBigUInt64LE(0)) * share);
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

/** Gives back what {@link takeDescriptor} granted. */
export function giveBackDescriptors(count: number): void {
  if (left !== undefined) left += count;
}
