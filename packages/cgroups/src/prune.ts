import { fstatSync } from 'node:fs';
import { AT_REMOVEDIR, onlyKnownKeys, ResourceStack, unlinkAt } from '@ns/libc';
import { Directories } from './directories.ts';
import { CgroupDirectory } from './directory.ts';
import { type CgroupHost, detectCgroups, type Hierarchy } from './host.ts';
import { kill } from './kill.ts';
import { isDead, readOwner } from './owner.ts';
import { type Parent, type Place, placeIn } from './placement.ts';
import { remove } from './remove.ts';
import { openAgain, openDirectory } from './tree.ts';
import { walkBelow } from './walk.ts';

/** What {@link pruneCgroups} did. */
export interface PrunedCgroups {
  /** Names, relative to the parent, of cgroups whose owner is gone: their processes were killed and they were removed. */
  readonly removed: readonly string[];
  /** Names of those that could not be removed, with the reason. */
  readonly failed: readonly { readonly name: string; readonly error: unknown }[];
}

/**
 * Finds cgroups whose owner died without removing them, kills what runs in them and removes them, in every tree.
 * An owner is known by pid, start time and pid namespace, kept in an extended attribute of the directory; cgroups of
 * others, of living owners, and of pid namespaces that cannot be seen from here are left alone.
 */
export async function pruneCgroups(options: { parent?: Parent; host?: CgroupHost } = {}): Promise<PrunedCgroups> {
  onlyKnownKeys(options, ['parent', 'host'], '');
  const host = options.host ?? detectCgroups();
  // Also of those that nobody comes to look at, because looking on failed.
  using opened = new ResourceStack();
  const orphans = new Map<string, CgroupDirectory[]>();
  const places = new Map<Hierarchy, Place>(
    host.hierarchies.map((hierarchy) => [hierarchy, placeIn(hierarchy, options.parent)]),
  );
  for (const [hierarchy, { components }] of places) {
    for (const orphan of orphansBelow(hierarchy, components, opened)) {
      const name = orphan.components.slice(components.length).join('/');
      orphans.set(name, [...(orphans.get(name) ?? []), orphan]);
    }
  }
  const given = new Map([...places].map(([hierarchy, place]) => [hierarchy, place.given]));
  const removed: string[] = [];
  const failed: { name: string; error: unknown }[] = [];
  for (const [name, found] of orphans) {
    using directories = new Directories(found);
    try {
      await kill(directories);
      await remove(directories, given);
      removed.push(name);
    } catch (error) {
      failed.push({ name, error });
    }
  }
  for (const [hierarchy, { components }] of places) removeEmpty(hierarchy, components);
  return { removed, failed };
}

function orphansBelow(hierarchy: Hierarchy, components: readonly string[], opened: ResourceStack): CgroupDirectory[] {
  using top = openDirectory(hierarchy, components);
  const found: CgroupDirectory[] = [];
  if (!top) return found;
  walkBelow(top.fd, {
    enter(fd, path) {
      const owner = readOwner(fd);
      // What lies beneath a living owner's cgroup is judged by its own mark; what lies beneath an orphan goes with it.
      if (!owner || !isDead(owner)) return true;
      if (!isRemovable(fd)) return false;
      found.push(opened.use(new CgroupDirectory(hierarchy, [...components, ...path], openAgain(fd))));
      return false;
    },
  });
  return found;
}

/** Those of other users are left to them, and to root. */
function isRemovable(fd: number): boolean {
  const uid = process.geteuid!();
  return uid === 0 || fstatSync(fd).uid === uid;
}

/**
 * How old an unmarked directory must be: its maker marks it right after it has made it, and one that is removed between
 * our look and its mark would be missed only when it is used.
 */
const unmarkedForMs = 1_000;

/**
 * Parents a crash left behind: unmarked and empty. A creator that loses one to us makes it again. What is in a marked one is
 * its owner's, or of the container to which it was delegated.
 */
function removeEmpty(hierarchy: Hierarchy, components: readonly string[]): void {
  using top = openDirectory(hierarchy, components);
  if (!top) return;
  walkBelow(top.fd, {
    enter: (fd) => readOwner(fd) === undefined,
    leave({ fd, name, parentFd }) {
      if (Date.now() - fstatSync(fd).ctimeMs >= unmarkedForMs) unlinkAt(parentFd, name, AT_REMOVEDIR);
    },
  });
}
