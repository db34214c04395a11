import type { MountSpec } from './mount-spec.ts';
import { withoutContent } from './stored-spec.ts';
import type { ContainerLimits, ContainerSpec } from './types.ts';
import { withoutUndefined } from './without-undefined.ts';

/** One thing that an update changes. */
export interface PlannedChange {
  /** As in the specification: `limits.memory`. */
  readonly field: string;
  /** undefined: there was no limit. */
  readonly from: unknown;
  readonly to: unknown;
}

/** What can be changed of a running container. */
export type ContainerUpdate = Pick<ContainerSpec, 'limits' | 'egress' | 'bandwidth'> & {
  /** As `mount` and `unmount` do: until the end of the run. What is removed must have been added so. */
  readonly mounts?: { readonly add?: readonly MountSpec[]; readonly remove?: readonly string[] };
};

/** What an update names: what it says is undefined stays as what it does not speak of does. */
export function namedChanges({ mounts, egress, limits, bandwidth }: ContainerUpdate): ContainerUpdate {
  return {
    ...(mounts && { mounts }),
    ...(egress && { egress }),
    ...(limits && { limits: withoutUndefined(limits) }),
    ...(bandwidth && { bandwidth: withoutUndefined(bandwidth) }),
  };
}

/** The specification an update leads to, and what is different in it. */
export function planUpdate<Spec extends Omit<ContainerUpdate, 'mounts'>>(
  spec: Spec,
  { limits, egress, bandwidth }: ContainerUpdate,
): { spec: Spec; planned: PlannedChange[] } {
  return {
    spec: {
      ...spec,
      ...(limits && { limits: { ...spec.limits, ...limits } }),
      ...(egress && { egress }),
      ...(bandwidth && { bandwidth: { ...spec.bandwidth, ...bandwidth } }),
    },
    planned: [
      ...plannedChanges('limits', spec.limits ?? {}, withoutPolicy(limits)),
      ...plannedChanges('egress', spec.egress ?? {}, egress ?? {}),
      ...plannedChanges('bandwidth', spec.bandwidth ?? {}, bandwidth ?? {}),
    ],
  };
}

/** What would change if these fields were set, those that stay as they are left out. */
function plannedChanges(prefix: string, now: object, wanted: object): PlannedChange[] {
  const current = new Map(Object.entries(now));
  return Object.entries(wanted)
    .filter(([key, to]) => JSON.stringify(current.get(key)) !== JSON.stringify(to))
    .map(([key, to]) => ({ field: `${prefix}.${key}`, from: current.get(key), to }));
}

/** What happens to the mounts of the running container. The content of files is not told. */
export function plannedMounts(
  { add = [], remove = [] }: NonNullable<ContainerUpdate['mounts']>,
  mountedAt: (target: string) => MountSpec | undefined,
): PlannedChange[] {
  const shown = (mount: MountSpec | undefined) => mount && withoutContent(mount);
  return [
    ...remove.map((target) => ({ field: `mounts.${target}`, from: shown(mountedAt(target)), to: undefined })),
    ...add.map((mount) => ({ field: `mounts.${mount.target}`, from: undefined, to: shown(mount) })),
  ];
}

/** What to do about missing controllers is nothing that changes in the container. */
function withoutPolicy({ missing, ...limits }: ContainerLimits = {}): object {
  return limits;
}
