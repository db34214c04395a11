import { hasCode, type OwnedFd, SpecError } from '@ns/libc';
import type { Absence } from './change.ts';
import { inheritCpuset } from './cpuset-inheritance.ts';
import { CgroupDirectory } from './directory.ts';
import { CgroupBusyError, CgroupExistsError } from './errors.ts';
import type { Controller, Hierarchy } from './host.ts';
import { markOwner, type Owner } from './owner.ts';
import type { PlannedDirectory } from './plan.ts';
import { enableControllers } from './subtree-control.ts';
import { absolutePath, makeDirectory, openDirectory, removeDirectory } from './tree.ts';

/** A new directory, and which of the wanted controllers it lacks. */
export interface Leaf {
  readonly directory: CgroupDirectory;
  readonly missing: ReadonlyMap<Controller, Absence>;
}

/** Another process that removes empty parents can undo each attempt; so often it is not chance any more. */
const attempts = 100;

/**
 * Makes one cgroup directory with its parents and hands the controllers down to it.
 *
 * @throws CgroupExistsError when the leaf exists
 * @throws SpecError when what is given is not there
 */
export async function makeLeaf(
  { hierarchy, place, name, controllers }: PlannedDirectory,
  owner: Owner | 'none',
): Promise<Leaf> {
  const components = [...place.components, ...name];
  const parents = components.slice(0, -1);
  for (let attempt = 0; attempt < attempts; attempt++) {
    makeParents(hierarchy, parents, place.given);
    const missing =
      hierarchy.version === 2 && controllers.length > 0
        ? await enableControllers(hierarchy, parents, controllers)
        : new Map<Controller, Absence>();
    const directory = makeChild(hierarchy, components);
    if (!directory) continue;
    try {
      if (markOwner(directory.fd, owner)) return { directory, missing };
    } catch (error) {
      directory.remove();
      directory[Symbol.dispose]();
      throw error;
    }
    directory[Symbol.dispose]();
  }
  throw new CgroupBusyError(absolutePath(hierarchy, components), 'it vanishes as fast as it is made', {
    hint: 'Somebody removes empty cgroups there: give another parent, or stop it',
  });
}

/** `undefined` when the parent vanished meanwhile. */
function makeChild(hierarchy: Hierarchy, components: readonly string[]): CgroupDirectory | undefined {
  const path = absolutePath(hierarchy, components);
  using parent = openDirectory(hierarchy, components.slice(0, -1));
  try {
    if (!parent) return undefined;
    if (!makeDirectory(parent, components.at(-1)!, path)) throw new CgroupExistsError(path);
  } catch (error) {
    if (isVanished(error)) return undefined;
    throw error;
  }
  let fd: OwnedFd | undefined;
  try {
    fd = openDirectory(hierarchy, components);
  } catch (error) {
    removeDirectory(parent, components.at(-1)!);
    throw error;
  }
  if (!fd) return undefined;
  if (hierarchy.version === 1 && hierarchy.controllers.has('cpuset')) inheritCpuset(parent.fd, fd.fd);
  return new CgroupDirectory(hierarchy, components, fd);
}

function makeParents(hierarchy: Hierarchy, components: readonly string[], given: number): void {
  using present = openDirectory(hierarchy, components);
  if (present) return;
  mustBeThere(hierarchy, components.slice(0, given));
  for (let depth = given + 1; depth <= components.length; depth++) {
    using parent = openDirectory(hierarchy, components.slice(0, depth - 1));
    if (!parent) return;
    try {
      if (!makeDirectory(parent, components[depth - 1]!, absolutePath(hierarchy, components.slice(0, depth)))) continue;
    } catch (error) {
      if (isVanished(error)) return;
      throw error;
    }
    if (hierarchy.version === 1 && hierarchy.controllers.has('cpuset')) {
      using made = openDirectory(hierarchy, components.slice(0, depth));
      if (made) inheritCpuset(parent.fd, made.fd);
    }
  }
}

/** What others have made is not made in their place: nobody would remove it. */
function mustBeThere(hierarchy: Hierarchy, components: readonly string[]): void {
  using given = openDirectory(hierarchy, components);
  if (given) return;
  const path = absolutePath(hierarchy, components);
  throw new SpecError('parent', 'a cgroup that is there in each tree in use', path, `Make it first: mkdir -p ${path}`);
}

function isVanished(error: unknown): boolean {
  return hasCode(error, 'ENOENT', 'ENODEV');
}
