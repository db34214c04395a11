import { readFileSync } from 'node:fs';
import { chownAt, ERRNO, onlyKnownKeys, SyscallError, UnavailableError } from '@ns/libc';
import { integer } from './change.ts';
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

/** To whom a cgroup is handed over, by the ids of this process's user namespace. */
export interface Delegatee {
  readonly uid: number;
  /** Default: the group stays. */
  readonly gid?: number;
}

/**
 * Hands a v2 cgroup over to another user, who may then make children in it and give them its controllers, but not
 * change its own limits: the directory and the files of `/sys/kernel/cgroup/delegate` change owner.
 *
 * Needs CAP_CHOWN. All controllers the cgroup has may be given on by its new owner.
 *
 * @example
 * ```ts
 * const cg = await Cgroup.create('users/anna', { memory: { max: '1GiB' }, pids: { max: 200 } });
 * cg.delegate({ uid: 1000, gid: 1000 });
 * ```
 *
 * @throws SpecError `ERR_NS_INVALID_SPEC` for what is no id
 * @throws UnavailableError `ERR_NS_UNAVAILABLE` on v1, where delegation is not safe
 * @throws SyscallError `EPERM` without CAP_CHOWN
 */
export function delegate(directories: Directories, to: Delegatee): void {
  const { uid, gid } = parseDelegatee(to);
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

// (uid_t) -1 is no id: chown(2) would leave the owner as it is.
const id = integer(0, 2 ** 32 - 2);

function parseDelegatee(to: unknown): Delegatee {
  onlyKnownKeys(to, ['uid', 'gid'], '');
  return { uid: id(to.uid, 'uid'), ...(to.gid !== undefined && { gid: id(to.gid, 'gid') }) };
}
