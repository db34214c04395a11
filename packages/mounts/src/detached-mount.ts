import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  fsconfig,
  fsconfigCreate,
  fsmount,
  fsopen,
  MOUNT_ATTR,
  MS,
  mountSetattr,
  moveMount,
  O,
  OPEN_TREE_CLONE,
  type OwnedFd,
  open,
  openTree,
  readInto,
  SyscallError,
} from '@ns/libc';
import { mountAttributeNames } from './flag-names.ts';
import { attempt } from './mount-error.ts';
import { type MountAttributes, type MountOptions, parseMountOptions } from './mount-options.ts';

/* A detached mount is attached nowhere: nobody but the holder of its descriptor can see or use it, and it goes away when
   that is closed. Everything (read-only, nosuid, propagation, id mapping) is set on it before it is attached, so there
   is no moment in which it stands in the tree with the wrong attributes. */

/** A place given as a path of the caller's own, or as a descriptor (which no rename can redirect). */
export type Place = string | OwnedFd;

const describe = (place: Place): string => (typeof place === 'string' ? place : place.procPath);

/**
 * open_tree(2) with OPEN_TREE_CLONE, since 5.2: a detached bind of `source`. Needs CAP_SYS_ADMIN over the mount namespace.
 *
 * @param options - `recursive`: with what is mounted below. Default: that mount alone
 * @returns a mount that nobody else sees; it goes with its descriptor unless it is attached
 * @throws SyscallError EPERM; EINVAL for a mount of another mount namespace, or before Linux 6.15 a detached one
 *
 * @example
 * ```ts
 * using mount = cloneMount('/srv/data', { recursive: true });
 * setMountAttributes(mount, parseMountOptions(['ro', 'nosuid']).attributes, { recursive: true });
 * attachMount(mount, '/mnt');
 * ```
 */
export function cloneMount(source: Place, options: { recursive?: boolean } = {}): OwnedFd {
  const recursive = options.recursive ? AT_RECURSIVE : 0;
  return attempt({ doing: `clone the mount at ${describe(source)}`, path: describe(source) }, () =>
    typeof source === 'string'
      ? openTree(AT_FDCWD, source, OPEN_TREE_CLONE | recursive)
      : openTree(source.fd, '', OPEN_TREE_CLONE | AT_EMPTY_PATH | recursive),
  );
}

/** What {@link createMount} makes. */
export interface NewMount {
  /** `tmpfs`, `proc`, `ext4`, … as in /proc/filesystems. */
  readonly type: string;
  /** Device or name; shown in mountinfo. */
  readonly source?: string;
  /** Option strings of the OCI specification and of the file system. Each is passed alone, so a value may hold commas. */
  readonly options?: readonly string[];
}

/**
 * fsopen(2), fsconfig(2), fsmount(2), since 5.2: a new file system, mounted nowhere yet.
 * Needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace; in one that is not the initial, only tmpfs, proc, sysfs, overlay and some more.
 *
 * @throws SyscallError with the kernel's own message as hint, where the file system wrote one
 *
 * @example
 * ```ts
 * using tmp = createMount({ type: 'tmpfs', options: ['size=64m', 'mode=1777', 'nosuid', 'nodev'] });
 * attachMount(tmp, '/mnt');
 * ```
 */
export function createMount({ type, source, options = [] }: NewMount): OwnedFd {
  const parsed = parseMountOptions(options);
  const doing = `mount ${type}${source === undefined ? '' : ` ${source}`}`;
  using context = attempt({ doing, args: { type } }, () => fsopen(type));
  return withMessages(context, doing, () => {
    if (source !== undefined) fsconfig(context.fd, 'source', source);
    configure(context, [...parsed.superblock, ...parsed.data]);
    fsconfigCreate(context.fd);
    return finishMount(fsmount(context.fd, parsed.attributes.set), parsed);
  });
}

/**
 * Gives a detached mount what options ask of it beside the attributes of fsmount(2): `rro` and its like, and propagation.
 *
 * @returns the mount, which is closed when that fails
 * @throws SyscallError
 */
export function finishMount(
  mount: OwnedFd,
  { recursiveAttributes, propagation }: Pick<MountOptions, 'recursiveAttributes' | 'propagation'>,
): OwnedFd {
  try {
    setMountAttributes(mount, recursiveAttributes, { recursive: true });
    attempt({ doing: 'set the propagation of a mount' }, () => {
      for (const bits of propagation) setPropagationBits(mount, bits);
    });
    return mount;
  } catch (error) {
    mount.close();
    throw error;
  }
}

/** @internal fsconfig(2) for each option, `name` or `name=value`. */
export function configure(context: OwnedFd, options: readonly string[]): void {
  for (const option of options) {
    const equals = option.indexOf('=');
    if (equals < 0) fsconfig(context.fd, option);
    else fsconfig(context.fd, option.slice(0, equals), option.slice(equals + 1));
  }
}

/** What a file system wrote about a failure: read(2) on its fsopen(2) context, one message per read, `e overlay: …`. */
export function contextMessages(context: OwnedFd): string[] {
  const messages: string[] = [];
  const buffer = Buffer.from(new ArrayBuffer(1024));
  for (;;) {
    const length = readInto(context.fd, buffer);
    // ENODATA: no more. ENOMEM and EMSGSIZE would repeat.
    if (length <= 0) return messages;
    messages.push(
      buffer
        .toString('utf8', 0, length)
        .trim()
        .replace(/^[ewi] /, ''),
    );
  }
}

/** Runs calls on a file system context; a failure carries what the file system itself says about it. */
export function withMessages<T>(context: OwnedFd, doing: string, calls: () => T): T {
  try {
    return attempt({ doing }, calls);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const said = contextMessages(context);
    if (said.length === 0) throw error;
    const { syscall, errno, args } = error;
    throw new SyscallError(syscall, errno, {
      doing,
      args,
      hint: [`The kernel says: ${said.join('; ')}`, error.hint].filter(Boolean).join('. '),
      cause: error,
    });
  }
}

/**
 * move_mount(2), since 5.2: puts a detached mount in its place, or moves one that is attached. Needs CAP_SYS_ADMIN over the
 * mount namespace.
 *
 * @param target - a path of the caller's own (its links are followed), or a descriptor from {@link resolveInRoot}, which no
 * rename leads elsewhere
 * @throws SyscallError ENOENT, ENOTDIR (a directory on a file, or the reverse), EINVAL (attached, below a shared mount), EPERM
 */
export function attachMount(mount: OwnedFd, target: Place): void {
  attempt({ doing: `attach a mount to ${describe(target)}`, dest: describe(target) }, () => {
    if (typeof target !== 'string') return moveMount(mount.fd, target.fd);
    using place = open(target, O.PATH);
    moveMount(mount.fd, place.fd);
  });
}

/**
 * mount_setattr(2), since 5.12: `clear` first, then `set`; with `recursive` on all mounts below too, all or none. Needs
 * CAP_SYS_ADMIN over the mount namespace.
 *
 * @param attributes - bits of MOUNT_ATTR, as {@link parseMountOptions} gives them. Default: none of either
 * @throws SyscallError EINVAL (no mount, or bits that exclude each other), EPERM (also to clear what a more privileged
 * namespace has locked), EBUSY (read-only, while files are open for writing)
 *
 * @example
 * ```ts
 * using mount = openMount('/mnt');
 * setMountAttributes(mount, parseMountOptions(['ro', 'nodev']).attributes);
 * ```
 */
export function setMountAttributes(
  mount: OwnedFd,
  attributes: Partial<MountAttributes>,
  options: { recursive?: boolean } = {},
): void {
  const { set = 0, clear = 0 } = attributes;
  if (set === 0 && clear === 0) return;
  attempt(
    {
      doing: 'set mount attributes',
      args: { set: mountAttributeNames(set), clear: mountAttributeNames(clear), ...options },
    },
    () => mountSetattr(mount.fd, { set, clear }, options.recursive ? AT_RECURSIVE : 0),
  );
}

/**
 * mount_setattr(2) with MOUNT_ATTR_IDMAP, since 5.12 (file system by file system: ext4 and xfs 5.12 and 5.15, overlay
 * layers 5.19, tmpfs 6.3): files appear with the ids the namespace maps them to. `mount` must be detached and not be mapped yet.
 *
 * @param userNamespace - from {@link createUserNamespace}, or any descriptor of /proc/PID/ns/user
 * @throws SyscallError EINVAL: the file system does not support it, or the mount is attached or mapped already; EPERM: its
 * file system belongs to another user namespace
 *
 * @example
 * ```ts
 * using maps = await createUserNamespace({ uids: [{ container: 0, host: 100000, size: 65536 }], gids: [{ container: 0, host: 100000, size: 65536 }] });
 * using mount = cloneMount('/srv/layer');
 * idmapMount(mount, maps);
 * attachMount(mount, '/mnt');
 * ```
 */
export function idmapMount(mount: OwnedFd, userNamespace: OwnedFd, options: { recursive?: boolean } = {}): void {
  const hint =
    'EINVAL: the file system does not support id-mapped mounts on this kernel, or the mount is attached or mapped already; EPERM: it is not owned by this user namespace';
  attempt({ doing: 'map the ids of a mount', hint }, () =>
    mountSetattr(
      mount.fd,
      { set: MOUNT_ATTR.IDMAP, userNamespace: userNamespace.fd },
      options.recursive ? AT_RECURSIVE : 0,
    ),
  );
}

/** @internal MS_SHARED and so on, with MS_REC for the recursive form. */
export function setPropagationBits(mount: OwnedFd, bits: number): void {
  mountSetattr(mount.fd, { propagation: bits & ~MS.REC }, bits & MS.REC ? AT_RECURSIVE : 0);
}
