import { accessSync, constants } from 'node:fs';
import type { Hierarchy } from './host.ts';
import { parseHierarchyPath } from './name.ts';

/**
 * Where cgroups are made.
 *
 * - `'root'`: in `/ns` at the root of each tree. Limits of the service this process runs in do not apply, and stopping
 *   the service does not reach the cgroups: what a container manager run by root wants, and what Docker does.
 * - `'own'`: in `ns` beneath the cgroup of this process: limits add up, and a delegated subtree is all that is needed.
 * - a path such as `'/system.slice/my.scope'`: there, in each tree. It must exist.
 *
 * Default: `'root'` where the root of the tree can be written to, else `'own'`.
 */
export type Parent = 'root' | 'own' | `/${string}`;

/** Name of the directory that holds everything of ours. */
const baseName = 'ns';

const writableRoots = new WeakMap<Hierarchy, boolean>();

function rootIsWritable(hierarchy: Hierarchy): boolean {
  let writable = writableRoots.get(hierarchy);
  if (writable === undefined) {
    try {
      accessSync(hierarchy.mountPoint, constants.W_OK);
      writable = true;
    } catch {
      writable = false; // another user's, or mounted read-only
    }
    writableRoots.set(hierarchy, writable);
  }
  return writable;
}

/** A parent directory in one tree. */
export interface Place {
  /** Of the parent itself. */
  readonly components: readonly string[];
  /** How many of the components were there before us and are never removed by us. */
  readonly given: number;
}

/** Where a tree's cgroups are made. */
export function placeIn(hierarchy: Hierarchy, parent: Parent | undefined): Place {
  const own = parseHierarchyPath(hierarchy.ownPath);
  if (parent !== undefined && parent !== 'root' && parent !== 'own') {
    const components = parseHierarchyPath(parent);
    return { components, given: components.length };
  }
  const above = (parent ?? (rootIsWritable(hierarchy) ? 'root' : 'own')) === 'root' ? [] : own;
  return { components: [...above, baseName], given: above.length };
}
