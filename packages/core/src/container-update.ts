import { updateContainerCgroup } from './container-cgroup.ts';
import type { ContainerLife } from './container-life.ts';
import { cgroupOf } from './container-processes.ts';
import { checkLaterMount } from './device-access.ts';
import { networkToUpdate, updateNetwork } from './network/live-networks.ts';
import {
  type ContainerUpdate,
  namedChanges,
  type PlannedChange,
  plannedMounts,
  planUpdate,
} from './planned-changes.ts';
import type { RunningMounts } from './running-mounts.ts';
import { assertOwnMounts } from './shared-mounts.ts';
import type { ContainerLimits, ContainerSpec } from './types.ts';
import { validateSpec } from './validate-spec.ts';

/**
 * Changes a running container, what is asked for checked before the first of it. What the kernel alone can refuse comes last, and
 * the mounts are as before when it does.
 *
 * @returns what changed, or would
 */
export async function updateContainer(
  life: ContainerLife,
  runningMounts: RunningMounts,
  update: ContainerUpdate,
  { dryRun = false }: { readonly dryRun?: boolean },
): Promise<PlannedChange[]> {
  const { mounts = {}, ...changes } = namedChanges(update);
  const { spec, planned } = planUpdate(life.spec, changes);
  validateSpec(spec);
  const limits = changes.limits && {
    ...(spec.limits?.missing && { missing: spec.limits.missing }),
    ...withMemory(changes.limits, spec),
  };
  const { add = [], remove = [] } = mounts;
  if (add.length + remove.length > 0) assertOwnMounts(spec, 'mounts');
  for (const [index, mount] of add.entries()) checkLaterMount(spec, mount, `mounts.add[${index}].options`);
  const changedMounts = { add, remove };
  planned.push(...plannedMounts(changedMounts, (target) => runningMounts.at(target)));
  await life.during('update it', async (run) => {
    const cgroup = limits && cgroupOf(run, 'changing limits');
    const network = networkToUpdate(life.id, changes);
    if (dryRun) return runningMounts.check(run, changedMounts);
    await runningMounts.change(run, changedMounts, async () => {
      if (cgroup) await updateContainerCgroup(cgroup, limits!);
      await updateNetwork(network, changes);
    });
  });
  if (!dryRun) life.respecify((now) => planUpdate(now, changes).spec);
  return planned;
}

/** Swap is told as memory and swap together. */
function withMemory(limits: ContainerLimits, spec: Pick<ContainerSpec, 'limits'>): ContainerLimits {
  const memory = spec.limits?.memory;
  return limits.memorySwap === undefined || memory === undefined ? limits : { ...limits, memory };
}
