import { type FdWatch, type OwnedFd, pidfdOpen, SyscallError, watchFd } from '@ns/libc';
import type { CgroupDirectory } from './directory.ts';
import { CgroupGoneError } from './errors.ts';
import { processesBelow } from './processes.ts';
import type { FileWatch } from './watch-file.ts';

/**
 * Says when a v1 cgroup becomes empty. v1 announces that only by running a program as root (`release_agent`, the door
 * of CVE-2022-0492), so this follows the pidfd of one member until it ends, then of another, until there is none.
 *
 * @param onEmpty - called once
 * @returns `undefined` when it is empty now
 */
export function watchEmpty(directory: CgroupDirectory, onEmpty: () => void): FileWatch | undefined {
  let member: { pidfd: OwnedFd; watch: FdWatch } | undefined;
  let keepsAlive = true;
  const release = (): void => {
    member?.watch.close();
    member?.pidfd.close();
    member = undefined;
  };
  const follow = (): boolean => {
    release();
    const pidfd = openAnyMember(directory);
    if (!pidfd) return false;
    const watch = watchFd(pidfd.fd, { readable: true }, () => {
      if (!follow()) onEmpty();
    });
    if (!keepsAlive) watch.unref();
    member = { pidfd, watch };
    return true;
  };
  if (!follow()) return undefined;
  return {
    ref: () => {
      keepsAlive = true;
      member?.watch.ref();
    },
    unref: () => {
      keepsAlive = false;
      member?.watch.unref();
    },
    [Symbol.dispose]: release,
  };
}

function openAnyMember(directory: CgroupDirectory): OwnedFd | undefined {
  for (const pid of membersOf(directory)) {
    if (pid === 0) continue; // of a pid namespace we do not see
    try {
      return pidfdOpen(pid);
    } catch (error) {
      if (!(error instanceof SyscallError) || error.code !== 'ESRCH') throw error;
    }
  }
  return undefined;
}

/** None, when it was removed. */
function membersOf(directory: CgroupDirectory): readonly number[] {
  try {
    return processesBelow(directory);
  } catch (error) {
    if (error instanceof CgroupGoneError) return [];
    throw error;
  }
}
