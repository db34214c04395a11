import { type IdRange, launch } from '@ns/launch';
import { O, type OwnedFd, open, SpecError } from '@ns/libc';

/** Maps of a user namespace. As elsewhere, `container` is the id inside, `host` the one outside. */
export interface UserNamespaceMaps {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
}

/**
 * A user namespace that exists only to carry maps, for {@link idmapMount}: a child process makes it, and is gone when this
 * returns; the descriptor keeps it.
 *
 * On an id-mapped mount, a file whose owner on disk is `container` appears as owned by `host`: to show files of uid 0 on disk
 * as uid 100000, map `{ container: 0, host: 100000, size: 1 }`. Ids that are not mapped appear as 65534 and cannot be written.
 *
 * Privilege: CAP_SETUID and CAP_SETGID for maps other than one's own id.
 *
 * @throws SpecError for an empty map
 * @throws SyscallError from clone3(2) or the writing of the maps, naming the step
 */
export async function createUserNamespace(maps: UserNamespaceMaps): Promise<OwnedFd> {
  for (const field of ['uids', 'gids'] as const) {
    if (!Array.isArray(maps[field]) || maps[field].length === 0)
      throw new SpecError(field, 'at least one range', maps[field]);
  }
  const child = launch({
    stdio: ['null', 'null', 'null'],
    steps: [
      {
        op: 'clone',
        supervisor: 'monitor',
        namespaces: [],
        idMaps: { ...maps, denySetgroups: false },
        // It only has to be there until its namespace is open; without its monitor nobody would end it, and we wait for that.
        child: [{ op: 'dieWithParent' }, { op: 'park' }],
      },
    ],
  });
  try {
    const pid = await Promise.race([
      child.ready.then(() => child.started),
      child.exited.then(({ failure }) => Promise.reject(failure)),
    ]);
    return open(`/proc/${pid}/ns/user`, O.RDONLY);
  } finally {
    child.kill();
    await child.exited;
    child.pidfd?.close();
  }
}
