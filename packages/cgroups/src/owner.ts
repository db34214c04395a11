import { readlinkSync } from 'node:fs';
import { identifyProcess, isAlive, type ProcessIdentity, SpecError, threadPid } from '@ns/libc';
import { readMarks, setMark } from './mark.ts';

/** Who a cgroup belongs to: when that process, or thread of Node, is gone, `prune()` may take the cgroup. */
export interface Owner extends ProcessIdentity {
  /** `pid:[4026531836]`: a pid means something only there. */
  readonly pidNamespace: string;
}

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
  const value = owner === 'none' ? owner : `${owner.pid} ${owner.startTime} ${owner.pidNamespace}`;
  return setMark(directoryFd, 'owner', value, 'mark the owner of a cgroup');
}

/** The mark of a directory, `undefined` for one without: a parent made on the way, or not ours. */
export function readOwner(directoryFd: number): Owner | 'none' | undefined {
  for (const value of readMarks(directoryFd, 'owner')) {
    if (value === 'none') return value;
    const match = /^(\d+) (\d+) (pid:\[\d+\])$/.exec(value);
    if (match) return { pid: Number(match[1]), startTime: Number(match[2]), pidNamespace: match[3]! };
  }
  return undefined;
}

/** Whether the owner certainly ended. Of a pid namespace we do not see nothing is certain. */
export function isDead(owner: Owner | 'none'): boolean {
  return owner !== 'none' && owner.pidNamespace === pidNamespace() && !isAlive(owner);
}
