import { accessSync, constants, existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { onlyKnownKeys } from '@ns/libc';
import { type MissingPolicy, refuseMissing } from './apply-limits.ts';
import type { Absence, AbsentLimit } from './change.ts';
import { type CgroupHost, type Controller, detectCgroups, type Hierarchy } from './host.ts';
import { type Limits, parseLimits, type RequestedLimits } from './limits.ts';
import { parseCgroupName } from './name.ts';
import { parseAccount, parseMissing } from './options.ts';
import { type Parent, type Place, placeIn } from './placement.ts';
import { absolutePath } from './tree.ts';

/** What decides where a cgroup is made. */
export interface PlanOptions {
  /**
   * Controllers to count with, besides those that limit. On v1 and hybrid hosts each is a tree of its own, and joining
   * costs little: 20 µs each after the first. Default: none.
   */
  account?: readonly Controller[];
  /** A limit whose controller is absent is an error (default), or is listed in {@link Cgroup.missing}. */
  missing?: MissingPolicy;
  /** See {@link Parent}. */
  parent?: Parent;
  /** Default: {@link detectCgroups}. */
  host?: CgroupHost;
}

/** The directory of a cgroup in one tree. */
export interface PlannedDirectory {
  readonly hierarchy: Hierarchy;
  /** Where the cgroups of this tree are made. */
  readonly place: Place;
  /** Components of the cgroup's name, beneath that place. */
  readonly name: readonly string[];
  /** To be handed down to it. */
  readonly controllers: readonly Controller[];
  readonly path: string;
}

/** What a child takes over from its parent; `Directory` is how the parent knows its own. */
export interface PlannedParent<Directory> {
  readonly host: CgroupHost;
  readonly parent: Parent | undefined;
  /** The v1 directory whose limits of io hold for processes in it alone. */
  readonly throttles: Directory | undefined;
}

/**
 * What a child of `parent` is made with, and the directory of its parent that its processes are in as well.
 *
 * v1 throttles io for the processes of one directory, not for those beneath it (blk-throttle.c: proper hierarchies on
 * the default hierarchy only). There, processes of a child without io limits of its own are in its parent's directory.
 */
export function inheritOptions<Directory, Options extends PlanOptions>(
  { host, parent, throttles }: PlannedParent<Directory>,
  limits: Limits,
  options: Options,
): { options: Options; throttledIn: Directory | undefined } {
  const throttledIn = limits.io === undefined ? throttles : undefined;
  const account = throttledIn ? options.account?.filter((controller) => controller !== 'io') : options.account;
  return { throttledIn, options: { ...options, host, ...(parent && { parent }), ...(account && { account }) } };
}

/**
 * Where {@link Cgroup.create} would make a cgroup, found without making it. Changes nothing and needs no privileges.
 *
 * What only the directory itself shows is not known: whether a v2 parent hands a controller down, and which files this
 * kernel has.
 *
 * @example
 * ```ts
 * const plan = planCgroup('jobs/42', { memory: { max: '1GiB' } });
 * console.log(plan.paths); // ['/sys/fs/cgroup/ns/jobs/42'] on a v2 host
 * ```
 *
 * @throws SpecError `ERR_NS_INVALID_SPEC` for bad names and values
 * @throws UnavailableError `ERR_NS_UNAVAILABLE` for a controller that no tree has, unless `missing` is `'warn'`
 */
export function planCgroup(name: string, limits: Limits = {}, options: PlanOptions = {}): CgroupPlan {
  return new CgroupPlan(name, limits, options);
}

// Those of Cgroup.create: what it is given can be planned as well.
const optionKeys = ['account', 'missing', 'parent', 'host', 'owner'];

/** See {@link planCgroup}. */
export class CgroupPlan implements PlannedParent<string> {
  readonly name: string;
  readonly host: CgroupHost;
  readonly parent: Parent | undefined;
  /** See {@link Cgroup.trees}. */
  readonly trees: readonly PlannedDirectory[];
  readonly requested: RequestedLimits;
  /** Controllers that no tree has, with the reason. */
  readonly absent: ReadonlyMap<Controller, Absence>;
  /** Limits that cannot be set, with `missing: 'warn'`. */
  readonly missing: readonly AbsentLimit[];
  readonly #throttledIn: string | undefined;

  constructor(name: string, limits: Limits, options: PlanOptions, throttledIn?: string) {
    const components = parseCgroupName(name);
    this.name = name;
    this.requested = parseLimits(limits);
    onlyKnownKeys(options, optionKeys, '');
    const account = parseAccount(options.account);
    const missing = parseMissing(options.missing);
    this.host = options.host ?? detectCgroups();
    this.parent = options.parent;
    this.#throttledIn = throttledIn;
    const { trees, absent } = treesFor(this.host, this.requested, account);
    this.absent = absent;
    this.missing = this.requested.controllers.flatMap(({ field, controller }) => {
      const absence = absent.get(controller);
      return absence ? [{ field, ...absence }] : [];
    });
    refuseMissing(this.missing, missing);
    this.trees = [...trees].map(([hierarchy, controllers]): PlannedDirectory => {
      const place = placeIn(hierarchy, options.parent);
      const path = absolutePath(hierarchy, [...place.components, ...components]);
      return { hierarchy, place, name: components, controllers, path };
    });
  }

  /** Where {@link Cgroup.createChild} would make a cgroup inside this one. */
  child(name: string, limits: Limits = {}, options: Pick<PlanOptions, 'account' | 'missing'> = {}): CgroupPlan {
    parseCgroupName(name);
    const inherited = inheritOptions<string, PlanOptions>(this, limits, options);
    return new CgroupPlan(`${this.name}/${name}`, limits, inherited.options, inherited.throttledIn);
  }

  /** Absolute path of the directory in each tree. */
  get paths(): readonly string[] {
    return this.trees.map(({ path }) => path);
  }

  /** See {@link Cgroup.possiblePaths}. */
  get possiblePaths(): readonly string[] {
    return pathsInAllTrees(this.host, this.parent, parseCgroupName(this.name));
  }

  /** See {@link JoinPlan}: whether the process is born in it, and the files into which it writes itself. */
  get join(): { readonly cloneInto: boolean; readonly procs: readonly string[] } {
    const written = this.trees.filter(({ hierarchy }) => hierarchy.version === 1).map(({ path }) => path);
    const joined = this.#throttledIn === undefined ? written : [...written, this.#throttledIn];
    return { cloneInto: this.host.unified !== undefined, procs: joined.map((path) => `${path}/cgroup.procs`) };
  }

  get throttles(): string | undefined {
    const io = this.trees.find(({ hierarchy }) => hierarchy.version === 1 && hierarchy.controllers.has('io'));
    return io?.path ?? this.#throttledIn;
  }

  /** Whether this user may make it, as far as the permissions of what is there tell. */
  get permitted(): boolean {
    return this.paths.every((path) => {
      let ancestor = dirname(path);
      while (!existsSync(ancestor)) ancestor = dirname(ancestor);
      return isWritable(ancestor);
    });
  }
}

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Which trees the cgroup must be in, and with which controllers. */
function treesFor(
  host: CgroupHost,
  requested: RequestedLimits,
  account: readonly Controller[],
): { trees: ReadonlyMap<Hierarchy, Controller[]>; absent: ReadonlyMap<Controller, Absence> } {
  const trees = new Map<Hierarchy, Controller[]>();
  const absent = new Map<Controller, Absence>();
  // Every cgroup needs one tree by which its processes are found, frozen and killed.
  const control = host.unified ?? host.controllers.get('freezer') ?? host.hierarchies[0]!;
  trees.set(control, []);
  const wanted = new Set([...requested.controllers.map(({ controller }) => controller), ...account]);
  if (requested.devices && host.controllers.has('devices')) wanted.add('devices');
  // Who limits cpu time wants to know how much there was; without a v2 tree another controller counts it.
  if (wanted.has('cpu') && !host.unified && host.controllers.has('cpuacct')) wanted.add('cpuacct');
  for (const controller of wanted) {
    const hierarchy = host.controllers.get(controller);
    if (!hierarchy) absent.set(controller, noController(controller));
    else trees.set(hierarchy, [...(trees.get(hierarchy) ?? []), controller]);
  }
  return { trees, absent };
}

/**
 * Where a cgroup of this name is, or would be, in each tree: first in that of v2, where what is in it can be killed, or in
 * v1's with the freezer, where it can be held still for that.
 */
export function pathsInAllTrees(
  { hierarchies }: CgroupHost,
  parent: Parent | undefined,
  name: readonly string[],
): string[] {
  return [...hierarchies]
    .sort((one, other) => holds(other) - holds(one))
    .map((hierarchy) => absolutePath(hierarchy, [...placeIn(hierarchy, parent).components, ...name]));
}

const holds = ({ version, controllers }: Hierarchy): number => (version === 2 ? 2 : Number(controllers.has('freezer')));

/** Why a limit cannot be set on this machine. */
export function noController(controller: Controller): Absence {
  return {
    why: `no cgroup tree of this machine has the ${controller} controller`,
    fix: `See /proc/cgroups: it is not built into the kernel, disabled with cgroup_disable=${controller}, or not mounted`,
  };
}
