import type { Propagation } from '@ns/launch';
import type { Size } from './types.ts';

/**
 * Whose the files of a mount are.
 *
 * `keep`: ids inside are those on disk, although the container has a user namespace in which they are others.
 * `container`: what belongs to the owner of the source belongs to the container's user inside, and what he makes there
 * belongs to the owner of the source on the host. Files of others show as 65534, and no other user of the container can
 * make any.
 *
 * Both are id-mapped mounts (since 5.12) where plain numbers would be wrong; `explain()` says which way is taken.
 */
export type MountOwner = 'keep' | 'container';

/** A file or directory of the host. */
export interface BindMountSpec {
  readonly type?: 'bind';
  /** On the host; absolute. */
  readonly source: string;
  /** In the container; absolute. Made when it is missing. */
  readonly target: string;
  /** Default false. */
  readonly readonly?: boolean;
  /** Default `private`: mounts of the host and of the container do not travel. */
  readonly propagation?: Propagation;
  /** Submounts too. Default true. */
  readonly recursive?: boolean;
  /** Default: ids are what the container's user namespace makes of those on disk. */
  readonly owner?: MountOwner;
  /**
   * As the OCI runtime specification spells them. It is `nosuid` and `nodev` besides, unless `suid` or `dev` is among them; with `dev`
   * the container has a cgroup that lets it use the nodes of {@link ContainerSpec.devices} only.
   */
  readonly options?: readonly string[];
}

/** A named volume. It is made at first use, with what the image has at `target`. */
export interface VolumeMountSpec {
  readonly type: 'volume';
  /** Its name. */
  readonly source: string;
  /** In the container; absolute. Made when it is missing. */
  readonly target: string;
  /** Default false. */
  readonly readonly?: boolean;
  /** Default `keep`, so that containers with different ids can share it. */
  readonly owner?: MountOwner;
  /** As those of a bind. */
  readonly options?: readonly string[];
}

/** Memory that vanishes with the container. */
export interface TmpfsMountSpec {
  readonly type: 'tmpfs';
  /** In the container; absolute. Made when it is missing. */
  readonly target: string;
  /** Default: half of the machine's memory, the kernel's own (tmpfs(5)); what is written counts for `limits.memory`. */
  readonly size?: Size;
  /** Permission bits, default 0o1777. */
  readonly mode?: number;
  /** Default false. */
  readonly readonly?: boolean;
  /**
   * Also those of tmpfs(5), such as `nr_inodes=1000`, and `tmpcopyup`: it begins with what the image has there, as root and with a
   * `rootfs`. `nosuid` and `nodev` as for a bind.
   */
  readonly options?: readonly string[];
}

/**
 * A file with this content, read-only and in memory only: for configuration and secrets. No disk has it, no swap space, and not
 * the stored state: it is on a tmpfs with `noswap`, or on a ramfs before Linux 6.4 and in a user namespace.
 */
export interface FileMountSpec {
  readonly type: 'file';
  /** In the container; absolute. Made when it is missing. */
  readonly target: string;
  /** Text is UTF-8. */
  readonly content: string | Uint8Array;
  /** Permission bits, default 0o444. */
  readonly mode?: number;
  /** Ids inside the container, default 0. */
  readonly uid?: number;
  /** The same. */
  readonly gid?: number;
}

/** A file system inside the container besides the root. */
export type MountSpec = BindMountSpec | VolumeMountSpec | TmpfsMountSpec | FileMountSpec;
