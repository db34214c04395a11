import { UnavailableError } from '@ns/libc';
import { applyChanges } from './apply.ts';
import type { Absence, AbsentLimit } from './change.ts';
import { applyDeviceRules } from './device-control.ts';
import type { Directories } from './directories.ts';
import type { Controller } from './host.ts';
import type { RequestedLimits } from './limits.ts';

/** What to do about a limit this machine cannot set: fail, or say so in the result. */
export type MissingPolicy = 'error' | 'warn';

/**
 * Sets limits on a cgroup.
 *
 * @param missing - controllers the cgroup does not have, with the reason
 * @param occupancy - whether processes can be in it, so that a write may have to wait for them
 * @returns what could not be set, with the policy `'warn'`
 * @throws UnavailableError for the first limit that cannot be set, with the policy `'error'`
 */
export async function applyLimits(
  directories: Directories,
  requested: RequestedLimits,
  missing: ReadonlyMap<Controller, Absence>,
  occupancy: 'empty' | 'occupied',
  policy: MissingPolicy,
): Promise<readonly AbsentLimit[]> {
  const unset: AbsentLimit[] = [];
  for (const { field, controller, changes } of requested.controllers) {
    const absence = missing.get(controller);
    const directory = directories.of(controller);
    if (absence) unset.push({ field, ...absence });
    else if (directory) {
      const wanted = changes(directory.hierarchy.version, (file) => directory.read(file));
      const absent = await applyChanges(directory, wanted, occupancy);
      unset.push(...absent.map((limit) => ({ ...limit, field: `limits.${limit.field}` })));
    }
    refuseMissing(unset, policy);
  }
  if (requested.devices) {
    const absence = applyDeviceRules(directories, requested.devices);
    if (absence) unset.push({ field: 'limits.devices', ...absence });
    refuseMissing(unset, policy);
  }
  return unset;
}

/** @throws UnavailableError for the first of them, with the policy `'error'` */
export function refuseMissing([first]: readonly AbsentLimit[], policy: MissingPolicy): void {
  if (first && policy === 'error') {
    const orWarn = "or go without: pass { missing: 'warn' }, for a container as limits: { missing: 'warn' }";
    throw new UnavailableError(
      first.field,
      first.why,
      first.fix ? `${first.fix}, ${orWarn}` : `Leave it out, ${orWarn}`,
    );
  }
}
