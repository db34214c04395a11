import { resolveCapabilities } from '@ns/capabilities';
import { type DeviceRule, defaultDeviceRules } from '@ns/cgroups';
import { allPermissions, resolveDevices } from './devices.ts';
import type { ContainerSpec } from './types.ts';

/**
 * Which device nodes a container may use, for its cgroup to enforce.
 *
 * Undefined where nothing needs to: all that the container has is `nodev` or read-only. One that may mount makes a place
 * for nodes of its own; and the mode of a node says nothing to root about reading or writing.
 */
export function deviceRules(spec: ContainerSpec): readonly DeviceRule[] | undefined {
  if (spec.privileged) return undefined;
  const devices = resolveDevices(spec.devices);
  const restricted = devices.some(({ permissions }) => permissions.length < allPermissions.length);
  if (!restricted && !mayMountDevices(spec)) return undefined;
  return [
    ...defaultDeviceRules,
    ...devices.map(
      ({ type, major, minor, permissions }): DeviceRule => ({ allow: true, type, major, minor, access: permissions }),
    ),
  ];
}

/** No file system of a user namespace has device nodes that work. */
function mayMountDevices({ capabilities, idMap, namespaces }: ContainerSpec): boolean {
  const inUserNamespace = idMap !== undefined || (namespaces?.user ?? 'host') !== 'host' || process.geteuid!() !== 0;
  return capabilities !== undefined && !inUserNamespace && resolveCapabilities(capabilities).set.has('CAP_SYS_ADMIN');
}
