import { readlinkSync } from 'node:fs';
import {
  ERRNO,
  getXattr,
  identifyProcess,
  isAlive,
  type ProcessIdentity,
  SpecError,
  SyscallError,
  setXattr,
  threadPid,
} from '@ns/libc';

/** Who a cgroup belongs to: when that process, or thread of Node, is gone, `prune()` may take the cgroup. */
export interface Owner extends ProcessIdentity {
  /** `pid:[4026531836]`: a pid means something only there. */
  readonly pidNamespace: string;
}

/* The mark is an extended attribute of the directory itself: it appears with the cgroup, vanishes with it, and needs no
   state file that could be stale. user.* on cgroup directories is since 5.7; before, trusted.* works for root. */
const attributes = ['user.ns.owner', 'trusted.ns.owner'];

let own: Owner | undefined;

/** The owner record of this thread, which a worker's process outlives; read once, because `/proc/PID/stat` is costly to make. */
export function ownOwner(): Owner {
  own ??= ownerOf(threadPid());
  return own;
}

/** The owner record of a running process. */
export function ownerOf(pid: number): Owner {
  const owner = Number.isInteger(pid) && pid > 0 ? identifyProcess(pid) : undefined;
  if (!owner) throw new SpecError('owner', 'a running process', pid);
  return { ...owner, pidNamespace: pidNamespace() };
}

let ownPidNamespace: string | undefined;

function pidNamespace(): string {
  ownPidNamespace ??= readlinkSync('/proc/self/ns/pid');
  return ownPidNamespace;
}

/**
 * Marks a directory as a cgroup of ours. `'none'`: one that no crash makes prunable.
 *
 * @returns `false` when the directory is gone already. File systems and users that cannot mark are no error: the cgroup
 * is then left alone by prune
 */
export function markOwner(directoryFd: number, owner: Owner | 'none'): boolean {
  const value = Buffer.from(owner === 'none' ? owner : `${owner.pid} ${owner.startTime} ${owner.pidNamespace}`);
  for (const attribute of attributes) {
    const result = setXattr(directoryFd, '', attribute, value);
    if (result === 0) return true;
    if (result === -ERRNO.ENOENT || result === -ERRNO.ENODEV) return false;
    if (result !== -ERRNO.EOPNOTSUPP && result !== -ERRNO.EPERM && result !== -ERRNO.EACCES) {
      throw new SyscallError('setxattr', result, { doing: 'mark the owner of a cgroup' });
    }
  }
  return true;
}

/** The mark of a directory, `undefined` for one without: a parent made on the way, or not ours. */
export function readOwner(directoryFd: number): Owner | 'none' | undefined {
  for (const attribute of attributes) {
    const value = getXattr(directoryFd, '', attribute)?.toString('latin1');
    if (value === 'none') return value;
    const match = value === undefined ? null : /^(\d+) (\d+) (pid:\[\d+\])$/.exec(value);
    if (match) return { pid: Number(match[1]), startTime: Number(match[2]), pidNamespace: match[3]! };
  }
  return undefined;
}

/** Whether the owner certainly ended. Of a pid namespace we do not see nothing is certain. */
export function isDead(owner: Owner | 'none'): boolean {
  return owner !== 'none' && owner.pidNamespace === pidNamespace() && !isAlive(owner);
}
