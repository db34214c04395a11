import { statSync } from 'node:fs';
import { parseSize } from '@ns/cgroups';
import type { MountAttribute, MountStep } from '@ns/launch';
import { NsError } from '@ns/libc';
import type { MountSpec } from './types.ts';

/**
 * The step for a mount of a specification.
 *
 * @throws NsError `ERR_NS_MOUNT_SOURCE` when the source of a bind does not exist
 */
export function resolveMount(mount: MountSpec, index: number): MountStep {
  switch (mount.type) {
    case 'tmpfs': {
      const { target, size, mode = 0o1777, readonly, options = ['nosuid', 'nodev'] } = mount;
      return {
        op: 'mount',
        type: 'tmpfs',
        target,
        options: {
          mode: mode.toString(8),
          ...(size !== undefined && { size: String(parseSize(size, `mounts.${index}.size`)) }),
        },
        attributes: attributesOf(options, readonly),
      };
    }
    case 'file':
      return { op: 'file', target: mount.target, content: mount.content, mode: mount.mode ?? 0o444, uid: 0, gid: 0 };
    default: {
      const { source, target, readonly, propagation, recursive = true, options = ['nosuid', 'nodev'] } = mount;
      const stat = statSync(source, { throwIfNoEntry: false });
      if (!stat) {
        throw new NsError('ERR_NS_MOUNT_SOURCE', `mounts.${index}.source: ${source} does not exist`, {
          hint: 'Make it first: nothing is created on the host for a mount',
        });
      }
      return {
        op: 'bind',
        source,
        target,
        type: stat.isDirectory() ? 'directory' : 'file',
        attributes: attributesOf(options, readonly),
        recursive,
        ...(propagation && { propagation }),
      };
    }
  }
}

function attributesOf(options: readonly MountAttribute[], readonly: boolean | undefined): MountAttribute[] {
  return [...options, ...(readonly ? ['ro' as const] : [])];
}
