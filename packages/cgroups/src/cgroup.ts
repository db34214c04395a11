import { type OwnedFd, onlyKnownKeys, SpecError } from '@ns/libc';
import { applyLimits, type MissingPolicy } from './apply-limits.ts';
import type { Absence, AbsentLimit } from './change.ts';
import { type Delegatee, delegate } from './delegate.ts';
import type { Directories } from './directories.ts';
import type { CgroupDirectory } from './directory.ts';
import { type CgroupEvent, type EventsOptions, Watchers, watchEvents } from './events.ts';
import { freeze, isFrozen, thaw } from './freeze.ts';
import type { CgroupHost, Controller, Hierarchy } from './host.ts';
import { findInTree, joinTree } from './join-tree.ts';
import { kill } from './kill.ts';
import { type Limits, parseLimits } from './limits.ts';
import { type CgroupParts, type CreateOptions, makeCgroup, openCgroup } from './make-cgroup.ts';
import { parseCgroupName } from './name.ts';
import { oomKills, oomKillsBelow } from './oom.ts';
import { parseMissing, parseTimeout } from './options.ts';
import { markOwner, ownerOf } from './owner.ts';
import { type Parent, placeIn } from './placement.ts';
import { inheritOptions, noController, type PlannedDirectory, pathsInAllTrees } from './plan.ts';
import { processesBelow } from './processes.ts';
import { remove } from './remove.ts';
import { type Peaks, readPeaks, readStats, type Stats, type StatsOptions } from './stats.ts';
import { enableControllers } from './subtree-control.ts';
import { absolutePath } from './tree.ts';

/** What to give a new process so that it starts inside the cgroup. */
export interface JoinPlan extends Disposable {
  /** For `CLONE_INTO_CGROUP` (since 5.7): the directory in the v2 tree. */
  readonly cloneInto: OwnedFd | undefined;
  /** `cgroup.procs` files into which the new process itself writes `0` before anything else. */
  readonly procs: readonly string[];
}

/**
 * A cgroup: one directory on v2, one in each tree in use on v1 and hybrid hosts, spoken to in the words of cgroup v2.
 *
 * Root, or a delegated subtree. All methods are idempotent where that makes sense; after {@link remove} the others throw
 * `ERR_NS_CGROUP_GONE`.
 *
 * @example
 * ```ts
 * await using cg = await Cgroup.create('jobs/42', { memory: { max: '1GiB' }, pids: { max: 64 }, cpu: { max: 0.5 } });
 * await cg.add(child.pid);
 * console.log((await cg.stats()).memory?.peakBytes);
 * ```
 */
export class Cgroup implements AsyncDisposable {
  /** As given to {@link Cgroup.create}. */
  readonly name: string;
  readonly host: CgroupHost;
  /** Limits that could not be set, with `missing: 'warn'`. */
  readonly missing: readonly AbsentLimit[];
  readonly #directories: Directories;
  readonly #given: Map<Hierarchy, number>;
  readonly #parent: Parent | undefined;
  /** Where processes are throttled together with those of the parent. */
  readonly #throttledIn: CgroupDirectory | undefined;
  readonly #watchers = new Watchers();

  private constructor(made: CgroupParts) {
    this.name = made.name;
    this.host = made.host;
    this.missing = made.missing;
    this.#directories = made.directories;
    this.#given = made.given;
    this.#parent = made.parent;
    this.#throttledIn = made.throttledIn;
  }

  /**
   * Makes a cgroup with its parents and sets its limits. Nothing is left behind when that fails.
   *
   * @param name - relative path beneath the {@link Parent}, `'jobs/42'`
   * @throws SpecError `ERR_NS_INVALID_SPEC` for bad names and values
   * @throws CgroupExistsError `ERR_NS_CGROUP_EXISTS`
   * @throws CgroupBusyError `ERR_NS_CGROUP_BUSY` when a parent holds processes (v2)
   * @throws UnavailableError `ERR_NS_UNAVAILABLE` for an absent controller, or without permission to make cgroups
   * @throws SyscallError when the kernel refuses a value
   */
  static async create(name: string, limits: Limits = {}, options: CreateOptions = {}): Promise<Cgroup> {
    return new Cgroup(await makeCgroup(name, limits, options));
  }

  /**
   * Takes hold of a cgroup that exists, made by this process or another.
   *
   * @throws SpecError `ERR_NS_INVALID_SPEC` for bad names and options
   * @throws CgroupGoneError `ERR_NS_CGROUP_GONE` when it is in no tree
   */
  static async open(name: string, options: Pick<CreateOptions, 'parent' | 'host'> = {}): Promise<Cgroup> {
    return new Cgroup(openCgroup(name, options));
  }

  /**
   * Makes a cgroup inside this one, for one `exec` of a container say. On v2, a cgroup whose children have controllers
   * cannot hold processes itself. On v1, processes of a child without io limits of its own are in this cgroup's directory,
   * where they are throttled.
   */
  async createChild(
    name: string,
    limits: Limits = {},
    options: Omit<CreateOptions, 'parent' | 'host'> = {},
  ): Promise<Cgroup> {
    parseCgroupName(name);
    const doing = `make ${name} in it`;
    this.#directories.control.mustExist(doing);
    const own = { host: this.host, parent: this.#parent, throttles: this.#throttles };
    const inherited = inheritOptions<CgroupDirectory, CreateOptions>(own, limits, options);
    try {
      // Where this one is removed meanwhile it is not made again: it would have no limits, and nobody would remove it.
      const within = { directories: this.#directories, throttledIn: inherited.throttledIn };
      return new Cgroup(await makeCgroup(`${this.name}/${name}`, limits, inherited.options, within));
    } catch (error) {
      this.#directories.control.mustExist(doing);
      throw error;
    }
  }

  /** Absolute path of the directory in each tree, the v2 tree first. */
  get paths(): readonly string[] {
    return this.#inJoinOrder().map((directory) => directory.path);
  }

  /** The same in the trees that it may be taken into by a limit: what to look for when all else is lost. */
  get possiblePaths(): readonly string[] {
    return pathsInAllTrees(this.host, this.#parent, parseCgroupName(this.name));
  }

  /** Its directory in each tree, with the tree: for showing them to a container, say. */
  get trees(): readonly { readonly path: string; readonly hierarchy: Hierarchy }[] {
    return this.#inJoinOrder().map(({ path, hierarchy }) => ({ path, hierarchy }));
  }

  /** Absolute path of the directory that has a controller's files, `undefined` when the cgroup is not in its tree. */
  pathOf(controller: Controller): string | undefined {
    return this.#directories.of(controller)?.path;
  }

  /**
   * Changes limits; those not named stay. Processes may be running. On v1 a limit may take the cgroup into one more tree,
   * and with it the processes that are in it; what is made in it from then on should be too (`account` of
   * {@link createChild}). Cpus and memory nodes are handed down to those inside, as the kernel does on v2. All is checked
   * before anything is written; when the kernel refuses one value after that, what was written before it stays.
   *
   * @returns the limits that could not be set, with `missing: 'warn'`
   * @throws SpecError `ERR_NS_INVALID_SPEC` for bad values
   * @throws UnavailableError `ERR_NS_UNAVAILABLE` for an absent controller or file
   * @throws CgroupGoneError `ERR_NS_CGROUP_GONE` when it was removed
   * @throws CgroupBusyError `ERR_NS_CGROUP_BUSY` when others are made in it faster than their cpus can be changed (v1)
   * @throws SyscallError when the kernel refuses a value: `EBUSY` on v1 for less memory than is in use
   */
  async update(limits: Limits, options: { missing?: MissingPolicy } = {}): Promise<readonly AbsentLimit[]> {
    const requested = parseLimits(limits);
    onlyKnownKeys(options, ['missing'], '');
    const policy = parseMissing(options.missing);
    this.#directories.control.mustExist('change its limits');
    const missing = await this.#handDown(requested.controllers.map(({ controller }) => controller));
    return applyLimits(this.#directories, requested, missing, 'occupied', policy);
  }

  /**
   * Moves a process, with all its threads, into the cgroup. The kernel waits for an RCU grace period (10 ms and more)
   * unless another move just happened: start processes with {@link joinPlan} where it matters.
   *
   * @throws SyscallError `ESRCH` when there is no such process
   */
  async add(pid: number): Promise<void> {
    if (!Number.isInteger(pid) || pid <= 0) throw new SpecError('pid', 'a process id', pid);
    for (const directory of this.#toJoin()) await directory.writeAside('cgroup.procs', String(pid));
    for (const onJoin of this.#watchers.onJoin) onJoin();
  }

  /** How a new process is born inside. Close what it holds (`using`) once the process is started. */
  joinPlan(): JoinPlan {
    const { unified, control } = this.#directories;
    // Another cgroup may have its name.
    control.mustExist('join it');
    const cloneInto = unified?.duplicateFd();
    return {
      cloneInto,
      procs: this.#toJoin()
        .filter((directory) => directory !== unified)
        .map((directory) => `${directory.path}/cgroup.procs`),
      [Symbol.dispose]: () => cloneInto?.close(),
    };
  }

  /** Processes in the cgroup and below, as this pid namespace numbers them. */
  async processes(): Promise<readonly number[]> {
    return processesBelow(this.#directories.control);
  }

  /** See {@link Stats}. */
  async stats(options: StatsOptions = {}): Promise<Stats> {
    return readStats(this.#directories, options);
  }

  /** See {@link Peaks}. */
  peaks(): Peaks {
    return readPeaks(this.#directories);
  }

  /**
   * See {@link oomKills}: processes of this very cgroup that were killed for memory; with `below: true` those of its
   * children as well.
   */
  oomKills(options: { below?: boolean } = {}): number | undefined {
    onlyKnownKeys(options, ['below'], '');
    return options.below ? oomKillsBelow(this.#directories) : oomKills(this.#directories);
  }

  /**
   * What happens to the cgroup, as it happens: see {@link CgroupEvent}. The kernel wakes the event loop; nothing is asked
   * again and again, and no thread is used. Watching begins with this call and ends with `break`, `return()`, the signal,
   * {@link close}, or the cgroup itself.
   *
   * @throws UnavailableError for `pressure` without PSI
   */
  events(options: EventsOptions = {}): AsyncIterableIterator<CgroupEvent> & Disposable {
    return watchEvents(this.#directories, this.#watchers, options);
  }

  /**
   * Stops every process, and waits until they stand still. v2: `cgroup.freeze` (since 5.2); v1: the freezer controller.
   * Idempotent. `timeoutMs` is 10,000 unless said otherwise.
   *
   * @throws CgroupBusyError `ERR_NS_CGROUP_BUSY` when one does not stop in time; the others run again then
   * @throws UnavailableError `ERR_NS_UNAVAILABLE` where there is neither
   */
  async freeze(options: { timeoutMs?: number } = {}): Promise<void> {
    return freeze(this.#directories, parseTimeout(options));
  }

  /** Lets frozen processes run again. Idempotent. Throws as {@link freeze}, but never for time. */
  async thaw(options: { timeoutMs?: number } = {}): Promise<void> {
    return thaw(this.#directories, parseTimeout(options));
  }

  /** Whether it was removed, by whomever. */
  get gone(): boolean {
    return this.#directories.control.gone;
  }

  /** Whether it is frozen, itself or by a parent. */
  get frozen(): boolean {
    return isFrozen(this.#directories);
  }

  /**
   * Kills every process in the cgroup and below and waits until none is left: `cgroup.kill` (since 5.14), else freeze,
   * SIGKILL and thaw. Nothing that forks meanwhile escapes. Idempotent; frozen processes die as well.
   *
   * @throws CgroupBusyError `ERR_NS_CGROUP_BUSY` when a process does not die within `timeoutMs` (default 10,000)
   */
  async kill(options: { timeoutMs?: number } = {}): Promise<void> {
    return kill(this.#directories, parseTimeout(options));
  }

  /**
   * Removes the cgroup with its children once no process is in it. Idempotent.
   *
   * @throws CgroupBusyError when processes are still there after `timeoutMs` (default 5,000)
   */
  async remove(options: { timeoutMs?: number } = {}): Promise<void> {
    const timeoutMs = parseTimeout(options);
    this.#findOthers();
    await remove(this.#directories, this.#given, timeoutMs);
  }

  /** See {@link delegate}: hands the cgroup over to another user. v2 only. */
  delegate(to: Delegatee): void {
    delegate(this.#directories, to);
  }

  /** Makes another process the one whose end makes the cgroup prunable. */
  setOwner(pid: number): void {
    const owner = ownerOf(pid);
    this.#directories.control.mustExist('set its owner');
    for (const directory of this.#directories.all) markOwner(directory.fd, owner);
  }

  /** Lets go of the descriptors; the cgroup stays. Idempotent. */
  close(): void {
    this.#watchers[Symbol.dispose]();
    this.#directories[Symbol.dispose]();
    this.#throttledIn?.[Symbol.dispose]();
  }

  /** Kills, removes, closes. Idempotent; after {@link close} it does nothing. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#directories.closed) return;
    try {
      await this.kill();
      await this.remove();
    } finally {
      this.close();
    }
  }

  #placeIn(hierarchy: Hierarchy): PlannedDirectory {
    const place = placeIn(hierarchy, this.#parent);
    this.#given.set(hierarchy, place.given);
    const name = parseCgroupName(this.name);
    return { hierarchy, place, name, controllers: [], path: absolutePath(hierarchy, [...place.components, ...name]) };
  }

  /** Takes hold of the directories in trees that another process has brought the cgroup into. */
  #findOthers(): void {
    // As long as this one is there, the name is the same cgroup's everywhere.
    if (this.host.mode === 'v2' || this.#directories.control.gone) return;
    for (const hierarchy of this.host.hierarchies) {
      if (this.#directories.in(hierarchy)) continue;
      const found = findInTree(this.#placeIn(hierarchy));
      if (found) this.#directories.add(found);
    }
  }

  /** Sees to controllers the cgroup was made without; those it cannot have, with the reason. */
  async #handDown(controllers: readonly Controller[]): Promise<ReadonlyMap<Controller, Absence>> {
    const missing = new Map<Controller, Absence>();
    const lacking = controllers.filter((controller) => !this.#directories.of(controller));
    for (const controller of lacking) {
      const hierarchy = this.host.controllers.get(controller);
      const directory = hierarchy && this.#directories.in(hierarchy);
      if (!hierarchy) missing.set(controller, noController(controller));
      else if (!directory) await joinTree(this.#directories, this.#placeIn(hierarchy));
      else {
        const parent = directory.components.slice(0, -1);
        for (const [name, absence] of await enableControllers(hierarchy, parent, [controller]))
          missing.set(name, absence);
        this.#directories.refresh();
      }
    }
    return missing;
  }

  // The tree that shows who is inside comes first: a process that did not get further can be found and killed.
  #inJoinOrder(): readonly CgroupDirectory[] {
    const { control, all } = this.#directories;
    return [control, ...all.filter((directory) => directory !== control)];
  }

  /** The directories that processes are in. */
  #toJoin(): readonly CgroupDirectory[] {
    return this.#throttledIn ? [...this.#inJoinOrder(), this.#throttledIn] : this.#inJoinOrder();
  }

  /** The v1 directory whose limits of io hold for processes in it alone. */
  get #throttles(): CgroupDirectory | undefined {
    const io = this.#directories.of('io');
    return io?.hierarchy.version === 1 ? io : this.#throttledIn;
  }
}
