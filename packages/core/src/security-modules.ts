import type { Step } from '@ns/launch';
import { type ResourceStack, SpecError } from '@ns/libc';
import {
  appArmorExecLabel,
  appArmorProcessLabel,
  appArmorSupport,
  builtInAppArmorProfile,
  type ExecLabel,
  ensureBuiltInAppArmorProfile,
  LandlockRuleset,
  planLandlock,
  selinuxAllows,
  selinuxContext,
  selinuxExecLabel,
  selinuxMountLabel,
  selinuxProcessLabel,
} from '@ns/lsm';
import type { ContainerWarning } from './container-warning.ts';
import { isOfOthers } from './namespaces-of-others.ts';
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

/** The label a program runs under, if any, and what stood in the way of the default one. */
export interface Confinement {
  readonly label?: ExecLabel;
  /** For the first process, when it is ours: the program may signal it then, and it executes nothing but the program. */
  readonly initLabel?: ExecLabel;
  /** For the first process, when it is ours and the program runs: it executes nothing that could bring it the label. */
  readonly supervisorLabel?: ExecLabel;
  readonly warnings: readonly ContainerWarning[];
}

/**
 * The label that the program runs under: the one that was asked for by name, or where the kernel has AppArmor our own
 * profile, which has the meaning of Docker's. For a privileged container and for one of an ordinary user, who can load no
 * profile, there is no default.
 *
 * @param options.load - load the default profile unless the kernel has it already
 * @throws UnavailableError when the kernel does not have the module that was asked for by name
 */
export function confine(spec: ContainerSpec, options: { readonly uid: number; readonly load: boolean }): Confinement {
  const { apparmor, selinux, privileged = false } = spec;
  if (apparmor !== undefined && selinux?.process !== undefined)
    throw new SpecError('apparmor', 'either apparmor or selinux.process', apparmor);
  if (selinux?.process !== undefined) return underSelinux(selinux.process, spec);
  // Where there is no AppArmor, everything is unconfined.
  if (apparmor === 'unconfined' && !hasAppArmor()) return none;
  if (apparmor !== undefined) return { label: appArmorExecLabel(apparmor), warnings: [] };
  if (privileged || options.uid !== 0 || !hasAppArmor()) return none;
  const { name } = builtInAppArmorProfile();
  const state = options.load ? ensureBuiltInAppArmorProfile() : ({ usable: true } as const);
  if (state.usable) return { label: appArmorExecLabel(name), initLabel: appArmorProcessLabel(name), warnings: [] };
  const message = `the default AppArmor profile does not confine this container: ${state.why}`;
  return {
    warnings: [{ code: 'NS_APPARMOR_NOT_APPLIED', name, message, ...(state.fix !== undefined && { hint: state.fix }) }],
  };
}

function underSelinux(process: string, { init = true, namespaces }: ContainerSpec): Confinement {
  const label = selinuxExecLabel(process);
  if (!init) return { label, warnings: [] };
  const ours = selinuxContext();
  const unlabelled = (why: string): Confinement => ({
    label,
    warnings: [
      {
        code: 'NS_SELINUX_INIT_UNLABELLED',
        name: process,
        message: `the container's init keeps the label ${ours}: ${why}`,
        hint: 'The program has its label all the same; with init: false there is no other process',
      },
    ],
  });
  if (isOfOthers(namespaces?.mount)) return unlabelled('it is not to be found in the procfs of others');
  // The last two: it has a pipe of ours to the monitor.
  const asked = [
    { source: ours, target: ours, class: 'process', permissions: ['setcurrent'] },
    { source: ours, target: process, class: 'process', permissions: ['dyntransition'] },
    { source: process, target: ours, class: 'fd', permissions: ['use'] },
    { source: process, target: ours, class: 'fifo_file', permissions: ['write'] },
  ];
  const refused = ours === process ? undefined : asked.find((question) => !selinuxAllows(question));
  if (!refused) return { label, supervisorLabel: selinuxProcessLabel(process), warnings: [] };
  const { source, target, permissions } = refused;
  return unlabelled(`the policy does not allow ${source} ${refused.class} ${permissions[0]} to ${target}`);
}

/**
 * The SELinux label of files that are the container's alone.
 *
 * @throws UnavailableError when the kernel does not run SELinux
 */
export function mountLabelOf({ selinux }: ContainerSpec): string | undefined {
  return selinux?.mount === undefined ? undefined : selinuxMountLabel(selinux.mount).value;
}

const none: Confinement = { warnings: [] };

// Enabled at boot or never.
let enabled: boolean | undefined;

function hasAppArmor(): boolean {
  enabled ??= appArmorSupport().available;
  return enabled;
}
