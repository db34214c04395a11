import type { LogSpec } from './log-location.ts';
import type { ContainerSpec, Writable } from './types.ts';

/** What a fork has of its origin: not its name, and no directory to write or log to, which can be but one container's. */
export function specToFork({ name: _, writable, rootfs, log, ...spec }: ContainerSpec): Omit<ContainerSpec, 'name'> {
  const own = (chosen: Writable | undefined) => typeof chosen === 'object' && ('dir' in chosen || 'upper' in chosen);
  const { writable: ofRoot, ...layers } = typeof rootfs === 'object' && 'layers' in rootfs ? rootfs : { layers: [] };
  return {
    ...spec,
    ...(log && { log: withoutDirectory(log) }),
    ...(rootfs !== undefined && { rootfs: own(ofRoot) ? layers : rootfs }),
    ...(writable !== undefined && !own(writable) && { writable }),
  };
}

/** A fork's log is with its state. */
function withoutDirectory({ directory: _, ...log }: LogSpec): LogSpec {
  return log;
}
