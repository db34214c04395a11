import { lstatSync } from 'node:fs';
import { posix } from 'node:path';
import type { DeviceNode } from '@ns/launch';
import { NsError, SpecError } from '@ns/libc';
import type { DeviceSpec } from './types.ts';

/**
 * The node a container gets for a device of the host.
 *
 * @throws NsError `ERR_NS_DEVICE` when it is missing or no device
 */
export function resolveDevice(device: string | DeviceSpec, index: number): DeviceNode & { readonly type: 'b' | 'c' } {
  const { path, ...options } = typeof device === 'string' ? { path: device } : device;
  const target = posix.normalize(options.target ?? path);
  const field = `devices[${index}]`;
  if (!target.startsWith('/dev/')) throw new SpecError(`${field}.target`, 'a path below /dev', target);
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat?.isCharacterDevice() && !stat?.isBlockDevice()) {
    throw new NsError('ERR_NS_DEVICE', `${field}: ${path} ${stat ? 'is not a device' : 'does not exist'}`, {
      hint: 'Give the path of a character or block device of the host; its driver may have to be loaded first',
    });
  }
  return {
    name: target.slice('/dev/'.length),
    source: path,
    type: stat.isBlockDevice() ? 'b' : 'c',
    // The C library's encoding of dev_t, which stat(2) results carry: makedev(3).
    major: Math.floor(stat.rdev / 256) & 0xfff,
    minor: (stat.rdev & 0xff) | (Math.floor(stat.rdev / 2 ** 12) & 0xfffff00),
    mode: stat.mode & 0o777,
    uid: stat.uid,
    gid: stat.gid,
  };
}
