import { lstatSync, readdirSync, type Stats } from 'node:fs';
import { posix } from 'node:path';
import { defaultDeviceRules } from '@ns/cgroups';
import type { DeviceNode } from '@ns/launch';
import { hasCode, NsError, SpecError } from '@ns/libc';
import { deviceLinks, deviceNodes } from './defaults.ts';
import type { ContainerSpec, DeviceSpec } from './types.ts';

/** A node, and letters of what may be done with it. */
export type ResolvedDevice = DeviceNode & { readonly type: 'b' | 'c'; readonly permissions: string };

/** What may be done with a device that nothing else is said of. */
export const allPermissions = 'rwm';

/** Places below /dev that are links, or that something else is mounted on later. */
const reserved = [...Object.keys(deviceLinks), 'pts', 'shm', 'mqueue'];

const isWithin = (name: string, place: string) => name === place || name.startsWith(`${place}/`);

/**
 * The nodes a container gets for devices of the host.
 *
 * @throws NsError `ERR_NS_DEVICE` when one is missing or no device
 * @throws SpecError for a place that another has, and for permissions that could not be enforced
 */
export function resolveDevices(devices: ContainerSpec['devices'] = []): ResolvedDevice[] {
  const nodes = devices.map(resolveDevice);
  for (const [index, { name }] of nodes.entries()) {
    const isFree =
      !reserved.some((place) => isWithin(name, place)) &&
      !deviceNodes.some((node) => name !== node.name && isWithin(name, node.name)) &&
      !nodes.slice(0, index).some((other) => isWithin(name, other.name) || isWithin(other.name, name));
    if (!isFree) throw new SpecError(`devices[${index}].target`, 'a path below /dev that is free', `/dev/${name}`);
  }
  return nodes;
}

function resolveDevice(device: string | DeviceSpec, index: number): ResolvedDevice {
  const {
    path,
    permissions = allPermissions,
    ...options
  }: DeviceSpec = typeof device === 'string' ? readDevice(device) : device;
  const target = posix.resolve(options.target ?? path);
  const field = `devices[${index}]`;
  if (!target.startsWith('/dev/')) throw new SpecError(`${field}.target`, 'a path below /dev', target);
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat || !isDevice(stat)) {
    throw new NsError('ERR_NS_DEVICE', `${field}: ${path} ${stat ? 'is not a device' : 'does not exist'}`, {
      hint: 'Give the path of a character or block device of the host; its driver may have to be loaded first',
    });
  }
  const node: ResolvedDevice = { ...nodeLike(stat), name: nameOf(target), source: path, permissions };
  // Masked paths and standard streams are what stands there.
  if (node.name === 'null' && !isSame(node, deviceNodes.find(({ name }) => name === 'null')!))
    throw new SpecError(`${field}.target`, '/dev/null for the null device alone', path);
  // Rules are about numbers, not about names: what everybody may do with it, this container may.
  if (permissions.length < allPermissions.length && defaultDeviceRules.some((rule) => isSame(node, rule)))
    throw new SpecError(
      `${field}.permissions`,
      `'${allPermissions}' for a device that every container has`,
      permissions,
    );
  return node;
}

/**
 * The nodes that a privileged container gets besides: all that there are below /dev of this machine, where it has no others.
 *
 * @param named - those that were asked for
 */
export function otherDevices(named: readonly ResolvedDevice[]): ResolvedDevice[] {
  const taken = [...reserved, 'console', ...deviceNodes.map(({ name }) => name)];
  const isTaken = (name: string) =>
    taken.some((place) => isWithin(name, place)) || named.some((other) => isWithin(name, other.name));
  const nodesIn = (directory: string): ResolvedDevice[] =>
    namesIn(directory).flatMap((entry) => {
      const path = `${directory}/${entry}`;
      // It may be gone by now.
      const stat = lstatSync(path, { throwIfNoEntry: false });
      if (!stat || isTaken(nameOf(path))) return [];
      if (stat.isDirectory()) return nodesIn(path);
      // In its place is a directory with one that was asked for.
      const isAbove = named.some((other) => isWithin(other.name, nameOf(path)));
      if (!isDevice(stat) || isAbove) return [];
      return { ...nodeLike(stat), name: nameOf(path), source: path, permissions: allPermissions };
    });
  return nodesIn('/dev');
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
}

const nameOf = (path: string): string => path.slice('/dev/'.length);

const isDevice = (stat: Stats): boolean => stat.isCharacterDevice() || stat.isBlockDevice();

function nodeLike(stat: Stats): Pick<ResolvedDevice, 'type' | 'major' | 'minor' | 'mode' | 'uid' | 'gid'> {
  return {
    type: stat.isBlockDevice() ? 'b' : 'c',
    // The C library's encoding of dev_t, which stat(2) results carry: makedev(3).
    major: Math.floor(stat.rdev / 256) & 0xfff,
    minor: (stat.rdev & 0xff) | (Math.floor(stat.rdev / 2 ** 12) & 0xfffff00),
    mode: stat.mode & 0o777,
    uid: stat.uid,
    gid: stat.gid,
  };
}

/** As Docker writes it: the path here, the path there, letters; the last two may be left out. A path may have colons of its own. */
function readDevice(text: string): DeviceSpec {
  const [, path, target, permissions] = /^(.+?)(?::(\/[^:]*))?(?::([rwm]{1,3}))?$/.exec(text) ?? [];
  if (path === undefined || lstatSync(text, { throwIfNoEntry: false })) return { path: text };
  return { path, ...(target !== undefined && { target }), ...(permissions !== undefined && { permissions }) };
}

type Numbers = Pick<DeviceNode, 'major' | 'minor'> & { readonly type: string };

function isSame({ type, major, minor }: Numbers, other: Partial<Record<keyof Numbers, unknown>>): boolean {
  return type === other.type && major === other.major && (minor === other.minor || other.minor === '*');
}
