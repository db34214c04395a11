import type { AbsentLimit, Cgroup, CgroupPlan } from '@ns/cgroups';
import type { VisibleCgroup } from './plan/cgroup-steps.ts';
import type { ContainerSpec } from './types.ts';

/** The cgroup of a container as its plan needs it: one that was made, or one that would be. */
export interface CgroupView {
  /** How its first process gets in. */
  readonly join: CgroupPlan['join'];
  /** What the container sees of it. */
  readonly visible: VisibleCgroup;
  /** Limits it goes without. */
  readonly missing: readonly AbsentLimit[];
}

/** @param limited - the cgroup that holds the limits; the one that is joined may be inside */
export function viewCgroup(
  { cgroupAccess }: ContainerSpec,
  { host, trees, missing }: Pick<Cgroup | CgroupPlan, 'host' | 'trees' | 'missing'>,
  join: CgroupPlan['join'],
): CgroupView {
  return { join, visible: { delegated: cgroupAccess === 'delegated', mode: host.mode, trees }, missing };
}
