import { resolveCapabilities } from '@ns/capabilities';
import { type DeviceRule, defaultDeviceRules } from '@ns/cgroups';
import { SpecError } from '@ns/libc';
import { allPermissions, resolveDevices } from './devices.ts';
import { readMountOptions } from './mount-options.ts';
import type { MountSpec } from './mount-spec.ts';
import { sharesMounts } from './shared-mounts.ts';
import type { ContainerSpec } from './types.ts';

/**
 * Which device nodes a container may use, for its cgroup to enforce.
 *
 * Undefined where nothing needs to: all that the container has is `nodev`, but for nodes that it was given. One that may mount
 * makes a place for nodes of its own, one with a mount that was asked to be `dev` has such a place; and the mode of a node says
 * nothing to root about reading or writing.
 */
export function deviceRules(spec: ContainerSpec): readonly DeviceRule[] | undefined {
  if (spec.privileged) return undefined;
  const devices = resolveDevices(spec.devices);
  const restricted = devices.some(({ permissions }) => permissions.length < allPermissions.length);
  if (!restricted && !mayHaveOwnNodes(spec)) return undefined;
  return [
    ...defaultDeviceRules,
    ...devices.map(
      ({ type, major, minor, permissions }): DeviceRule => ({ allow: true, type, major, minor, access: permissions }),
    ),
  ];
}

/**
 * What is mounted later is bounded like what was there from the start.
 *
 * @param field - of its options
 * @throws SpecError its nodes would work, and the container was made without a cgroup that bounds them
 */
export function checkLaterMount(spec: ContainerSpec, mount: MountSpec, field: string): void {
  if (!deviceRules({ ...spec, mounts: [mount] }) || deviceRules(spec)) return;
  const hint = 'Make the container with such a mount: which nodes it may use is decided then';
  throw new SpecError(field, "options without 'dev'", 'dev', hint);
}

/** No file system of a user namespace has device nodes that work, and nobody in one makes any elsewhere. An ordinary user can bound none. */
function mayHaveOwnNodes(spec: ContainerSpec): boolean {
  const { capabilities, idMap, namespaces, mounts = [] } = spec;
  if (process.geteuid!() !== 0) return false;
  // The /dev that is there has more than the nodes that it was given, and works for whoever their modes allow it.
  if (sharesMounts(spec)) return true;
  if (idMap !== undefined || namespaces?.user === 'private') return false;
  const mayMount = capabilities !== undefined && resolveCapabilities(capabilities).set.has('CAP_SYS_ADMIN');
  return mayMount || mounts.some(hasNodes);
}

function hasNodes(mount: MountSpec, index: number): boolean {
  return mount.type !== 'file' && !readMountOptions(mount, `mounts[${index}].options`).attributes.includes('nodev');
}
