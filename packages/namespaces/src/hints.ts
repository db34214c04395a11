import { errnoName, SyscallError } from '@ns/libc';

/** What can go wrong, by what was being done. */
export type NamespaceAction =
  | 'open'
  | 'owner'
  | 'parent'
  | 'setns'
  | 'pin'
  | 'pinMount'
  | 'unpin'
  | 'uidMap'
  | 'setgroups'
  | 'timeOffsets';

const hints: readonly (readonly [action: NamespaceAction, errno: string, hint: string])[] = [
  ['open', 'EACCES', 'Looking at the namespaces of another user needs CAP_SYS_PTRACE over that process'],
  ['open', 'ESRCH', 'The process has ended'],
  ['owner', 'EPERM', 'The owning user namespace is neither ours nor one below it, so it is hidden from us'],
  ['parent', 'EPERM', 'The parent is outside of our own namespace, so it is hidden from us'],
  ['setns', 'EPERM', 'Joining needs CAP_SYS_ADMIN both here and in the user namespace that owns the target'],
  ['setns', 'EUSERS', 'A time namespace can only be joined by a process with one thread'],
  ['pin', 'EEXIST', 'Something is there already; unpin it first, or choose another path'],
  ['pin', 'ENOENT', 'The directory of the path must exist'],
  ['pin', 'EROFS', 'The file system is read-only; /run is the usual place for pins'],
  [
    'pinMount',
    'EPERM',
    'Pinning is a mount: it needs CAP_SYS_ADMIN in the user namespace that owns our mount namespace',
  ],
  [
    'pinMount',
    'EINVAL',
    'Likely a mount namespace, which can only be pinned below a private mount, and not within itself or an older one',
  ],
  [
    'unpin',
    'EPERM',
    'Unpinning is an unmount: it needs CAP_SYS_ADMIN in the user namespace that owns our mount namespace',
  ],
  ['unpin', 'EINVAL', 'The pin is locked: a more privileged mount namespace made it, and it must be unpinned there'],
  ['unpin', 'EBUSY', 'Something else is mounted on the file; unmount that first'],
  ['unpin', 'EROFS', 'The namespace is unpinned, but its file cannot be removed from a read-only file system'],
  [
    'uidMap',
    'EPERM',
    'The map was written before (it can be only once), or it names ids that the writer may not give: more than the own one needs CAP_SETUID and CAP_SETGID in the parent user namespace, or newuidmap and newgidmap; a gid of the own group needs setgroups "deny" first',
  ],
  [
    'uidMap',
    'EINVAL',
    'The kernel refuses the map: likely ids that are not mapped in the parent user namespace, or more than 5 ranges before Linux 4.15',
  ],
  ['setgroups', 'EPERM', 'setgroups can be denied only before the gid map is written'],
  ['timeOffsets', 'EACCES', 'Offsets can be set only before the first process is in the time namespace'],
  [
    'timeOffsets',
    'EPERM',
    'Setting clock offsets needs CAP_SYS_TIME in the user namespace that owns the time namespace',
  ],
  ['timeOffsets', 'ERANGE', 'The clock would be before its beginning, or more than 146 years after'],
];

/**
 * The next action for a failure, if the table knows one.
 *
 * @example
 * ```ts
 * namespaceHint('pin', 'ENOENT'); // 'The directory of the path must exist'
 * ```
 */
export function namespaceHint(action: NamespaceAction, errno: string): string | undefined {
  return hints.find(([when, code]) => when === action && code === errno)?.[2];
}

/** Returns a result that is no error, throws a {@link SyscallError} with the hint for what was being done. */
export function checkAction(
  action: NamespaceAction,
  syscall: string,
  result: number,
  context: { path?: string; dest?: string; doing?: string } = {},
): number {
  if (result >= 0) return result;
  throw new SyscallError(syscall, result, { ...context, hint: namespaceHint(action, errnoName(result)) });
}
