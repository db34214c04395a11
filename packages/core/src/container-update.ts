import { cgroupLimits } from './container-cgroup.ts';
import type { ContainerLife } from './container-life.ts';
import { cgroupOf } from './container-processes.ts';
import { updateNetwork } from './network/live-networks.ts';
import { type ContainerUpdate, type PlannedChange, plannedMounts, planUpdate } from './planned-changes.ts';
import type { RunningMounts } from './running-mounts.ts';
import { validateSpec } from './validate-spec.ts';

/**
 * Changes a running container, all that is asked for checked before the first of it.
 *
 * @returns what changed, or would
 */
export async function updateContainer(
  life: ContainerLife,
  runningMounts: RunningMounts,
  { mounts = {}, ...changes }: ContainerUpdate,
  { dryRun = false }: { readonly dryRun?: boolean },
): Promise<PlannedChange[]> {
  const { spec, planned } = planUpdate(life.spec, changes);
  validateSpec(spec);
  const limits =
    changes.limits &&
    cgroupLimits({ ...(spec.limits?.missing && { missing: spec.limits.missing }), ...changes.limits });
  const { add = [], remove = [] } = mounts;
  planned.push(...plannedMounts({ add, remove }, (target) => runningMounts.at(target)));
  if (dryRun) return planned;
  await life.during('update it', async (run) => {
    if (limits) await cgroupOf(run, 'changing limits').update(limits.limits, { missing: limits.missing });
    await updateNetwork(life.id, changes);
    await runningMounts.change(run, add, remove);
  });
  life.respecify((now) => planUpdate(now, changes).spec);
  return planned;
}
