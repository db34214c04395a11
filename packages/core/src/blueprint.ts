import { Explanation, explain } from '@ns/launch';
import { ResourceStack } from '@ns/libc';
import { viewCgroup } from './cgroup-view.ts';
import { planContainerCgroup } from './container-cgroup.ts';
import { type CarriedOutPlan, leftoversOf } from './container-launch.ts';
import { type DesignContext, designContainer } from './design.ts';
import { readHost } from './host.ts';
import { type ContainerDesign, containerPlan } from './plan/container-plan.ts';
import type { ContainerSpec } from './types.ts';

/** The design of a container that is not to be started now: to look at, or to join one that runs. */
export function drawDesign(
  id: string,
  spec: ContainerSpec,
  known: Partial<Pick<DesignContext, 'ids' | 'fds' | 'cgroup' | 'leftovers'>> = {},
): ContainerDesign {
  // What a design opens is for a start: names and kinds are all that stays.
  using owner = new ResourceStack();
  return designContainer(spec, {
    id,
    park: true,
    scratch: { reuse: false, covered: false, handOver: true },
    nullFds: [],
    pipeFds: [0, 1, 2],
    leftovers: { files: [], cgroups: [], parents: [] },
    journal: false,
    ids: undefined,
    fds: {},
    owner,
    ...known,
  });
}

/** The plan of a container that was not made: the steps, their system calls, and why. */
export function explainSpec(id: string, spec: ContainerSpec): Explanation {
  const planned = planContainerCgroup(id, spec);
  const fds: Record<string, number> = planned?.payload.join.cloneInto ? { cgroup: -1 } : {};
  const design = drawDesign(id, spec, {
    fds,
    cgroup: planned && viewCgroup(spec, planned.cgroup, planned.payload.join),
    leftovers: leftoversOf({ id, cgroup: planned?.payload, outerCgroup: planned?.cgroup }, spec),
  });
  const steps = containerPlan(design, readHost());
  return explainPlan({ steps, layout: { extra: 0, named: Object.keys(fds) } }, design);
}

export function explainPlan({ steps, layout }: CarriedOutPlan, { warnings }: ContainerDesign): Explanation {
  const explained = explain(steps, layout);
  return new Explanation(
    explained.steps,
    warnings.map(({ message }) => message),
  );
}
