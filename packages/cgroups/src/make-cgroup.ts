import { onlyKnownKeys, ResourceStack, rollBack } from '@ns/libc';
import { applyLimits } from './apply-limits.ts';
import type { AbsentLimit } from './change.ts';
import { Directories } from './directories.ts';
import { CgroupDirectory } from './directory.ts';
import { CgroupGoneError } from './errors.ts';
import { type CgroupHost, detectCgroups, type Hierarchy } from './host.ts';
import type { Limits } from './limits.ts';
import { makeLeaf } from './make-leaf.ts';
import { parseCgroupName } from './name.ts';
import { ownerOf, ownOwner } from './owner.ts';
import { type Parent, placeIn } from './placement.ts';
import { type PlanOptions, planCgroup } from './plan.ts';
import { remove } from './remove.ts';
import { openDirectory } from './tree.ts';

/** How a cgroup is made. */
export interface CreateOptions extends PlanOptions {
  /** Process whose end makes the cgroup prunable: a pid, or `'none'` for never. Default: this process. */
  owner?: number | 'none';
}

/** What a cgroup consists of. */
export interface CgroupParts {
  readonly name: string;
  readonly host: CgroupHost;
  readonly directories: Directories;
  readonly given: Map<Hierarchy, number>;
  readonly missing: readonly AbsentLimit[];
  readonly parent: Parent | undefined;
  readonly throttledIn: CgroupDirectory | undefined;
}

/** The cgroup in which another one is made. */
interface Outer {
  readonly directories: Directories;
  readonly throttledIn: CgroupDirectory | undefined;
}

/** Makes its directories and sets its limits. Nothing is left when that fails. */
export async function makeCgroup(
  name: string,
  limits: Limits,
  options: CreateOptions,
  within?: Outer,
): Promise<CgroupParts> {
  const { host, parent, requested, absent, trees } = planCgroup(name, limits, options);
  const present = new Map(within?.directories.all.map(({ hierarchy, components }) => [hierarchy, components.length]));
  const owner = options.owner === undefined ? ownOwner() : options.owner === 'none' ? 'none' : ownerOf(options.owner);
  const missing = new Map(absent);
  const given = new Map(trees.map(({ hierarchy, place }) => [hierarchy, place.given]));
  const made: CgroupDirectory[] = [];
  try {
    for (const tree of trees) {
      const { place, hierarchy } = tree;
      const notOurs = { ...place, given: present.get(hierarchy) ?? place.given };
      const leaf = await makeLeaf({ ...tree, place: notOurs }, owner);
      made.push(leaf.directory);
      for (const [controller, absence] of leaf.missing) missing.set(controller, absence);
    }
    const directories = new Directories(made);
    const unset = await applyLimits(directories, requested, missing, 'empty', options.missing ?? 'error');
    return {
      name,
      host,
      directories,
      given,
      missing: unset,
      parent,
      throttledIn: within?.throttledIn?.duplicate(),
    };
  } catch (error) {
    using directories = new Directories(made);
    if (made.length === 0) throw error;
    throw await rollBack(error, () => remove(directories, given));
  }
}

/** Finds the directories of one that exists. */
export function openCgroup(name: string, options: Pick<CreateOptions, 'parent' | 'host'>): CgroupParts {
  const components = parseCgroupName(name);
  onlyKnownKeys(options, ['parent', 'host'], '');
  const host = options.host ?? detectCgroups();
  const given = new Map<Hierarchy, number>();
  using rollback = new ResourceStack();
  const found = host.hierarchies.flatMap((hierarchy) => {
    const place = placeIn(hierarchy, options.parent);
    const path = [...place.components, ...components];
    const fd = openDirectory(hierarchy, path);
    given.set(hierarchy, place.given);
    return fd ? [rollback.use(new CgroupDirectory(hierarchy, path, fd))] : [];
  });
  rollback.release();
  if (found.length === 0) throw new CgroupGoneError(name, 'open');
  const { parent } = options;
  return { name, host, directories: new Directories(found), given, missing: [], parent, throttledIn: undefined };
}
