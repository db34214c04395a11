import type { Cgroup, PressureTrigger } from '@ns/cgroups';
import type { ContainerSpec } from './types.ts';

/** What the kernel reports of a container's cgroup while it runs. */
export type CgroupWatchEvent =
  /** A process was killed because the memory limit was reached. */
  | { readonly type: 'oom' }
  /** Processes waited for a resource longer than a trigger of `pressure` allows. */
  | { readonly type: 'pressure'; readonly trigger: Required<PressureTrigger> };

/**
 * Reports events until the cgroup is removed. Only where there is something to report: a memory limit, or triggers.
 *
 * @returns ends the watching
 * @throws UnavailableError for `pressure` without PSI
 */
export function watchContainerCgroup(
  cgroup: Cgroup | undefined,
  spec: ContainerSpec,
  emit: (event: CgroupWatchEvent) => void,
): () => void {
  if (!cgroup || (spec.pressure === undefined && spec.limits?.memory === undefined)) return () => {};
  // The container itself keeps the event loop alive, where it is to be.
  const events = cgroup.events({ persistent: false, ...(spec.pressure && { pressure: spec.pressure }) });
  // v1 counts kills where the killed process was, in a cgroup below; its notice of the shortage itself comes here.
  const kill = cgroup.host.mode === 'v2' ? 'oom_kill' : 'oom';
  const follow = async () => {
    for await (const event of events) {
      if (event.type === kill) emit({ type: 'oom' });
      if (event.type === 'pressure') {
        const { type: _, ...trigger } = event;
        emit({ type: 'pressure', trigger });
      }
    }
  };
  // The stream ends with the cgroup; an error of it is an end as well.
  follow().catch(() => {});
  return () => events[Symbol.dispose]();
}
