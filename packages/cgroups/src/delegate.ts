import { readFileSync } from 'node:fs';
import { chownAt, ERRNO, SyscallError, UnavailableError } from '@ns/libc';
import type { Directories } from './directories.ts';

/** What cgroup-v2.rst names for kernels without `/sys/kernel/cgroup/delegate` (before 4.15). */
const defaultFiles = ['cgroup.procs', 'cgroup.threads', 'cgroup.subtree_control'];

function delegatableFiles(): readonly string[] {
  try {
    return readFileSync('/sys/kernel/cgroup/delegate', 'utf8').split('\n').filter(Boolean);
  } catch {
    return defaultFiles;
  }
}

/** To whom a cgroup is handed over. */
export interface Delegatee {
  readonly uid: number;
  /** Default: the group stays. */
  readonly gid?: number;
}

/**
 * Hands a v2 cgroup over to another user, who may then make children in it and give them its controllers, but not
 * change its own limits: the directory and the files of `/sys/kernel/cgroup/delegate` change owner.
 *
 * @throws UnavailableError on v1, where delegation is not safe
 */
export function delegate(directories: Directories, { uid, gid }: Delegatee): void {
  const { unified } = directories;
  if (!unified || directories.all.length > 1) {
    throw new UnavailableError(
      'delegating a cgroup',
      'cgroup v1 trees cannot be handed to another user safely: many of their files act beyond the cgroup',
      'Boot with systemd.unified_cgroup_hierarchy=1 (cgroup v2)',
    );
  }
  // -1 leaves the group as it is (chown(2)).
  for (const file of ['', ...delegatableFiles()]) {
    const result = chownAt(unified.fd, file, uid, gid ?? -1);
    // The list is that of the kernel; a controller the cgroup does not have has no file.
    if (result < 0 && result !== -ERRNO.ENOENT) {
      throw new SyscallError('fchownat', result, {
        path: `${unified.path}/${file}`,
        doing: `delegate ${unified.path} to uid ${uid}`,
      });
    }
  }
}
