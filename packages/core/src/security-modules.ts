import type { Step } from '@ns/launch';
import { type ResourceStack, SpecError } from '@ns/libc';
import { appArmorExecLabel, type ExecLabel, LandlockRuleset, planLandlock, selinuxExecLabel } from '@ns/lsm';
import type { ContainerSpec } from './types.ts';

/**
 * The step that enforces a Landlock ruleset. Ports and scopes are in the descriptor; rules for paths are added by the
 * process itself, because they are about files of a root that does not exist yet.
 *
 * @throws UnavailableError when the kernel lacks what is asked for
 */
export function landlockStep(
  landlock: ContainerSpec['landlock'],
  owner: ResourceStack,
  fds: Record<string, number>,
): Extract<Step, { op: 'landlock' }> | undefined {
  if (!landlock) return undefined;
  const { enforce, ...spec } = landlock;
  const options = enforce === undefined ? {} : { enforce };
  const { paths, missingPaths } = planLandlock(spec, options);
  const { fd, restrictFlags } = owner.use(LandlockRuleset.withoutPaths(spec, options));
  if (!fd) return undefined;
  fds.landlock = fd.fd;
  return { op: 'landlock', ruleset: 'landlock', flags: restrictFlags, paths, missingPaths };
}

/**
 * The label that the program runs under.
 *
 * @throws UnavailableError when the kernel does not have the module that was asked for by name
 */
export function execLabelOf({ apparmor, selinux }: ContainerSpec): ExecLabel | undefined {
  if (apparmor !== undefined && selinux?.process !== undefined)
    throw new SpecError('apparmor', 'either apparmor or selinux.process', apparmor);
  if (apparmor !== undefined) return appArmorExecLabel(apparmor);
  return selinux?.process === undefined ? undefined : selinuxExecLabel(selinux.process);
}
