import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, MOUNT_ATTR, MOVE_MOUNT, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE, S } from '@ns/libc';
import type { Lowerings } from '../lowering.ts';
import { attachTo, PLAIN, resolveTarget } from './attach.ts';
import { setAttributes } from './mount-attributes.ts';
import { newMount } from './new-mount.ts';

/** A device node in /dev. */
export interface DeviceNode {
  /** Below /dev: `null`, `net/tun`. */
  readonly name: string;
  /** Where it is bound from with `bindNodes`. Default: its name below /dev. */
  readonly source?: string;
  readonly type: 'c' | 'b' | 'p';
  readonly major: number;
  readonly minor: number;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** The step that makes /dev. */
export type DevStep =
  /** A tmpfs with device nodes and links, populated before anybody can reach it. */
  {
    readonly op: 'mountDev';
    readonly options: Readonly<Record<string, string>>;
    readonly nodes: readonly DeviceNode[];
    readonly links: Readonly<Record<string, string>>;
    readonly directories: readonly string[];
    /** Empty ones, for something to be mounted on later. */
    readonly files?: readonly string[];
    /** Bind the host's nodes instead of making new ones, which a user namespace may not. */
    readonly bindNodes: boolean;
    /**
     * Nodes that are made there later cannot be opened: each of the given ones is a mount of its own, and the rest is
     * `nodev`. Without it CAP_MKNOD reaches every device of the machine that no device cgroup denies.
     */
    readonly sealed?: boolean;
  };

export const devLowerings: Lowerings<DevStep> = {
  mountDev({ options, nodes, links, directories, files = [], bindNodes, sealed }, to) {
    const { asm } = to;
    const dev = to.handle('dev');
    newMount(to, 'tmpfs', options, MOUNT_ATTR.NOSUID | MOUNT_ATTR.NOEXEC | MOUNT_ATTR.STRICTATIME, dev);
    for (const name of directories) asm.call('mkdirat', [dev, asm.string(name), 0o755]);
    for (const name of files) asm.call('mknodat', [dev, asm.string(name), S.IFREG | 0o600, 0]);
    for (const [name, destination] of Object.entries(links))
      asm.call('symlinkat', [asm.string(destination), dev, asm.string(name)]);
    for (const { name, type, major, minor, mode, uid, gid } of nodes) {
      if (bindNodes) {
        asm.call('mknodat', [dev, asm.string(name), S.IFREG | 0o644, 0]);
      } else {
        asm.call('mknodat', [
          dev,
          asm.string(name),
          { c: S.IFCHR, b: S.IFBLK, p: S.IFIFO }[type] | mode,
          makeDevice(major, minor),
        ]);
        if (uid !== 0 || gid !== 0) asm.call('fchownat', [dev, asm.string(name), uid, gid, AT_SYMLINK_NOFOLLOW]);
      }
    }
    const place = resolveTarget(to, '/dev', 'directory', PLAIN);
    attachTo(to, dev, place);
    if (!bindNodes && !sealed) return;
    for (const { name, source = `/dev/${name}` } of nodes) {
      const node = asm.slot();
      const from = bindNodes ? ([AT_FDCWD, asm.string(source)] as const) : ([dev, asm.string(name)] as const);
      asm.call('open_tree', [...from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC], { store: node });
      asm.call('move_mount', [node, asm.string(''), dev, asm.string(name), MOVE_MOUNT.F_EMPTY_PATH]);
    }
    // Not before now: the copies above have the attributes of the mount they were taken from.
    if (sealed) setAttributes(to, dev, MOUNT_ATTR.NODEV, false);
  },
};

/** dev_t as the kernel decodes it: new_decode_dev in <linux/kdev_t.h>. */
function makeDevice(major: number, minor: number): number {
  return (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12);
}
