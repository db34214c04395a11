import {
  Cgroup,
  CgroupGoneError,
  type CgroupHost,
  type CgroupPlan,
  type Controller,
  fromDockerLimits,
  inDockersWords,
  type Limits,
  type MissingPolicy,
  planCgroup,
  type Stats,
} from '@ns/cgroups';
import type { Exit } from '@ns/launch';
import { rollBack, UnavailableError } from '@ns/libc';
import type { Ending } from './container-process.ts';
import { deviceRules } from './device-access.ts';
import type { ContainerLimits, ContainerSpec } from './types.ts';

/**
 * The cgroup of a container.
 *
 * @throws UnavailableError for a limit whose controller is absent
 */
export async function createContainerCgroup(id: string, spec: ContainerSpec): Promise<Cgroup> {
  const { limits, missing } = containerLimits(spec);
  try {
    return await Cgroup.create(`ns-${id}`, limits, { missing });
  } catch (error) {
    throw inDockersWords(error, spec.limits);
  }
}

/** Changes limits of a container. Throws as {@link createContainerCgroup}. */
export async function updateContainerCgroup(cgroup: Cgroup, changed: ContainerLimits): Promise<void> {
  const { limits, missing } = cgroupLimits(changed);
  try {
    await cgroup.update(limits, { missing });
  } catch (error) {
    throw inDockersWords(error, changed);
  }
}

/**
 * Where they would be made: a container's cgroup, and the one inside that its first process is in.
 *
 * @returns undefined where this user does without one because he may not make it
 * @throws UnavailableError for a limit whose controller is absent
 */
export function planContainerCgroup(
  id: string,
  spec: ContainerSpec,
): { cgroup: CgroupPlan; payload: CgroupPlan } | undefined {
  const { limits, missing } = containerLimits(spec);
  let cgroup: CgroupPlan;
  try {
    cgroup = planCgroup(`ns-${id}`, limits, { missing });
  } catch (error) {
    throw inDockersWords(error, spec.limits);
  }
  if (!isLimited(spec) && process.geteuid!() !== 0 && !cgroup.permitted) return undefined;
  const account = spec.cgroupAccess === 'delegated' ? delegatedControllers(cgroup.host) : limitedControllers(spec);
  return { cgroup, payload: cgroup.child(payloadName, {}, { account, missing: 'warn' }) };
}

/** Does it ask for anything that takes a cgroup? */
export function isLimited(spec: ContainerSpec): boolean {
  return Object.keys(spec.limits ?? {}).length > 0 || deviceRules(spec) !== undefined;
}

/** Name of the cgroup that the first process is in. */
export const payloadName = 'init';

/** What the cgroup of a container enforces. */
function containerLimits(spec: ContainerSpec): { limits: Limits; missing: MissingPolicy } {
  const { limits, missing } = cgroupLimits(spec.limits);
  const devices = deviceRules(spec);
  return { limits: { ...limits, ...(devices && { devices }) }, missing };
}

/** Limits of a container as those of its cgroup. */
function cgroupLimits({ missing = 'error', ...limits }: ContainerLimits = {}): {
  limits: Limits;
  missing: MissingPolicy;
} {
  return { limits: fromDockerLimits(limits), missing };
}

/**
 * A cgroup inside, for one command. On v1 each controller is a tree of its own: to be limited by the container's cgroup
 * is to be below it in each tree it is in.
 */
export function createCommandCgroup(container: Cgroup, name: string, spec: ContainerSpec): Promise<Cgroup> {
  return container.createChild(name, {}, { account: limitedControllers(spec) });
}

/** Controllers in whose trees the cgroups inside have to be. */
export function limitedControllers(spec: ContainerSpec): readonly Controller[] {
  const { limits } = containerLimits(spec);
  return controllers.filter((controller) => controller in limits);
}

/**
 * The cgroup of a container's first process, in which the container may make others: it belongs to the container's root.
 *
 * @param uid - of the container's root as the host sees it
 * @throws UnavailableError where cgroups are v1's
 */
export async function createDelegatedCgroup(container: Cgroup, uid: number): Promise<Cgroup> {
  const account = delegatedControllers(container.host);
  const cgroup = await container.createChild(payloadName, {}, { account, missing: 'warn' });
  try {
    cgroup.delegate({ uid });
    return cgroup;
  } catch (error) {
    // Nobody else knows of it yet.
    throw await rollBack(error, () => cgroup[Symbol.asyncDispose]());
  }
}

/** What a container may hand down to the cgroups it makes. */
function delegatedControllers({ mode, unified }: CgroupHost): readonly Controller[] {
  if (mode !== 'v2')
    throw new UnavailableError(
      "cgroupAccess: 'delegated'",
      'cgroup v1 trees cannot be handed to a container safely: many of their files act beyond it',
      'Boot with systemd.unified_cgroup_hierarchy=1 (cgroup v2)',
    );
  return [...unified!.controllers];
}

const controllers = ['memory', 'cpu', 'cpuset', 'pids', 'io', 'hugetlb', 'devices'] as const;

/** Are the processes in it held still? Those of one that has just ended are not. */
export function isFrozen(cgroup: Cgroup | undefined): boolean {
  try {
    return cgroup?.frozen ?? false;
  } catch {
    return false;
  }
}

/** What a process used and whether memory was its end: read before the cgroup goes away. */
export async function readAccounts(exit: Exit, cgroup: Cgroup | undefined): Promise<Ending> {
  const { usage } = exit;
  // Of processes that nobody has waited for their cgroup alone knows.
  const cpu = usage ? undefined : (await lastStats(cgroup, ['cpu']))?.cpu;
  const peaks = unlessGone(() => cgroup?.peaks());
  // Where cgroups are its to make, its processes may be in some of its own.
  const oom = (unlessGone(() => cgroup?.oomKills({ below: true })) ?? 0) > 0;
  return {
    // What has survived a shortage may end in good order, or by a signal that is not the kernel's: that is its end then.
    oom: oom && exit.exitCode !== 0 && (exit.signal === null || exit.signal === 'SIGKILL'),
    usage: {
      cpuUserMs: usage?.cpuUserMs ?? inMs(cpu?.userUs),
      cpuSystemMs: usage?.cpuSystemMs ?? inMs(cpu?.systemUs),
      // A process that ended during its setup has no figure yet: the kernel says 0.
      memoryPeakBytes: peaks?.memoryBytes ?? (usage?.maxResidentBytes || undefined),
      ioReadBytes: usage?.ioReadBytes,
      ioWriteBytes: usage?.ioWriteBytes,
      pidsPeak: peaks?.pids,
    },
  };
}

const inMs = (us: number | undefined) => (us === undefined ? undefined : us / 1000);

/** Somebody else who looks after the same container may have removed its cgroup by now. */
function unlessGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof CgroupGoneError) return undefined;
    throw error;
  }
}

/** The figures of a cgroup that somebody else may have removed by now. */
export async function lastStats(
  cgroup: Cgroup | undefined,
  only?: readonly (keyof Stats)[],
): Promise<Stats | undefined> {
  try {
    return await cgroup?.stats(only && { only });
  } catch (error) {
    if (error instanceof CgroupGoneError) return undefined;
    throw error;
  }
}
