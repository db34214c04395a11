import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  AT_SYMLINK_NOFOLLOW,
  FSCONFIG,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  MNT_DETACH,
  MOUNT_ATTR,
  MOVE_MOUNT,
  MS,
  O,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  RESOLVE,
  S,
} from '@ns/libc';
import type { Lowering, Lowerings } from '../lowering.ts';
import { Label, type Operand, type Slot } from '../program.ts';
import { sendRecord } from '../send-record.ts';

/** A mount's attributes: bits of MOUNT_ATTR_* by name. */
export type MountAttribute =
  | 'ro'
  | 'nosuid'
  | 'nodev'
  | 'noexec'
  | 'noatime'
  | 'strictatime'
  | 'nodiratime'
  | 'nosymfollow';

/** How mount and unmount events travel. */
export type Propagation =
  | 'private'
  | 'rprivate'
  | 'slave'
  | 'rslave'
  | 'shared'
  | 'rshared'
  | 'unbindable'
  | 'runbindable';

/** A device node in /dev. */
export interface DeviceNode {
  /** Below /dev: `null`, `net/tun`. */
  readonly name: string;
  readonly type: 'c' | 'b' | 'p';
  readonly major: number;
  readonly minor: number;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** A directory above a hidden path, with what the merged directory shall look like. */
export interface LayerDirectory {
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Where an overlay's writes go: a directory of the scratch file system, or directories of the host. */
export type OverlayUpper =
  /** What the merged top directory looks like: default 0755, root's. */
  | { readonly scratch: string; readonly mode?: number; readonly uid?: number; readonly gid?: number }
  | { readonly upper: string; readonly work: string };

/** Steps that build the mount namespace. Targets are resolved inside the root, never outside (CVE-2021-30465). */
export type MountStep =
  /** Propagation of the whole tree: what is mounted here must not appear on the host. */
  | { readonly op: 'propagation'; readonly propagation: Propagation }
  /**
   * A tmpfs for upper layers and empty directories. It is mounted over "/", which path lookups do not see: they start
   * below it. `reuse` names a descriptor of the scratch of an earlier start; `handOver` gives the caller one, by which
   * upper layers can be read and used again after the container has ended.
   */
  | {
      readonly op: 'mountScratch';
      readonly options: Readonly<Record<string, string>>;
      readonly reuse?: string;
      readonly handOver?: boolean;
    }
  /**
   * A lower layer of our own above the others: it takes paths out of view, puts plain directories where mounts go, and
   * places files, all without a mount for each. Overlays name it `cover`.
   */
  | {
      readonly op: 'coverLayer';
      /** Directories on the way, parents first. */
      readonly parents: readonly LayerDirectory[];
      /** Empty directories: what is below does not show. */
      readonly directories: readonly LayerDirectory[];
      /** Files that shall not exist. */
      readonly absent: readonly string[];
      readonly files: readonly { readonly path: string; readonly content: string }[];
      /** Symbolic links: path to destination. */
      readonly links?: Readonly<Record<string, string>>;
      /** Which extended attributes the overlay will read: `user` in a user namespace. */
      readonly xattr: 'trusted' | 'user';
    }
  /** A union file system as the root, or at `target` inside it. Relative paths name layers in the scratch. */
  | {
      readonly op: 'mountOverlay';
      readonly target: string;
      readonly lower: readonly string[];
      readonly upper?: OverlayUpper;
      readonly options: Readonly<Record<string, string | true>>;
      readonly attributes: readonly MountAttribute[];
      /** `lowerdir+` (since 6.8); otherwise one `lowerdir` string. */
      readonly appendLower: boolean;
      /** Errors of looking at the layers after which the mount is left out. */
      readonly optional?: readonly string[];
    }
  /** A root of nothing but directories and links in the scratch, for mounts to go on. */
  | {
      readonly op: 'emptyRoot';
      readonly directories: readonly string[];
      readonly links: Readonly<Record<string, string>>;
    }
  /** An existing directory as the root. */
  | { readonly op: 'bindRoot'; readonly source: string; readonly attributes: readonly MountAttribute[] }
  /** A file system of its own: proc, sysfs, tmpfs, devpts, mqueue, cgroup2, … */
  | {
      readonly op: 'mount';
      readonly type: string;
      readonly target: string;
      readonly options: Readonly<Record<string, string | true>>;
      readonly attributes: readonly MountAttribute[];
      /** Errors after which the mount is left out. */
      readonly optional?: readonly string[];
      /** Refuse a symbolic link anywhere in the target: for /proc, /sys and /dev. */
      readonly plain?: boolean;
      /** An earlier step made the target: it is not made when it is missing. */
      readonly made?: boolean;
      /** Name under which later steps find the mount's descriptor. */
      readonly handle?: string;
    }
  /** A tmpfs with device nodes and links, populated before anybody can reach it. */
  | {
      readonly op: 'mountDev';
      readonly options: Readonly<Record<string, string>>;
      readonly nodes: readonly DeviceNode[];
      readonly links: Readonly<Record<string, string>>;
      readonly directories: readonly string[];
      /** Bind the host's nodes instead of making new ones, which a user namespace may not. */
      readonly bindNodes: boolean;
      /**
       * Nodes that are made there later cannot be opened: each of the given ones is a mount of its own, and the rest is
       * `nodev`. Without it CAP_MKNOD reaches every device of the machine that no device cgroup denies.
       */
      readonly sealed?: boolean;
    }
  /** A file or directory of the host inside the root. */
  | {
      readonly op: 'bind';
      /** Path on the host, the name of a descriptor of a detached mount, or that of one which an earlier step made. */
      readonly source: string | { readonly fd: string } | { readonly handle: string };
      readonly target: string;
      readonly type: 'file' | 'directory';
      readonly attributes: readonly MountAttribute[];
      readonly recursive: boolean;
      readonly propagation?: Propagation;
      /** Leave it out when the source is not there. */
      readonly optional?: boolean;
    }
  /** A new file inside the root with given content, on a tmpfs of its own: it never touches a disk. */
  | {
      readonly op: 'file';
      readonly target: string;
      readonly content: string | Uint8Array;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  /** Files read as empty, directories are empty and read-only. A path that does not exist is left out. */
  | { readonly op: 'mask'; readonly paths: readonly string[] }
  /** Paths become read-only and keep their other attributes. */
  | { readonly op: 'readonlyPaths'; readonly paths: readonly string[] }
  /** The root mount itself becomes read-only. */
  | { readonly op: 'readonlyRoot' }
  /** The root becomes "/", the old root is gone. */
  | { readonly op: 'pivotRoot' };

const attributeBits: Readonly<Record<MountAttribute, number>> = {
  ro: MOUNT_ATTR.RDONLY,
  nosuid: MOUNT_ATTR.NOSUID,
  nodev: MOUNT_ATTR.NODEV,
  noexec: MOUNT_ATTR.NOEXEC,
  noatime: MOUNT_ATTR.NOATIME,
  strictatime: MOUNT_ATTR.STRICTATIME,
  nodiratime: MOUNT_ATTR.NODIRATIME,
  nosymfollow: MOUNT_ATTR.NOSYMFOLLOW,
};

const propagationFlags: Readonly<Record<Propagation, number>> = {
  private: MS.PRIVATE,
  rprivate: MS.PRIVATE | MS.REC,
  slave: MS.SLAVE,
  rslave: MS.SLAVE | MS.REC,
  shared: MS.SHARED,
  rshared: MS.SHARED | MS.REC,
  unbindable: MS.UNBINDABLE,
  runbindable: MS.UNBINDABLE | MS.REC,
};

const IN_ROOT = RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS;
const PLAIN = RESOLVE.IN_ROOT | RESOLVE.NO_SYMLINKS;

export const mountLowerings: Lowerings<MountStep> = {
  propagation({ propagation }, { asm }) {
    asm.call('mount', [0, asm.string('/'), 0, propagationFlags[propagation], 0]);
  },

  mountScratch({ options, reuse, handOver }, to) {
    const { asm } = to;
    const scratch = to.handle('scratch');
    if (reuse) asm.copy(scratch.address, asm.words([to.fd(reuse)]), 8);
    else newMount(to, 'tmpfs', options, MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV, scratch);
    asm.call('move_mount', [scratch, asm.string(''), AT_FDCWD, asm.string('/'), MOVE_MOUNT.F_EMPTY_PATH]);
    // Paths of layers in the scratch are given relative to it from here on.
    asm.call('fchdir', [scratch]);
    if (!handOver) return;
    // A detached copy of the mount: the one attached here goes away with the mount namespace.
    const copy = asm.slot();
    asm.call('open_tree', [scratch, asm.string(''), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH], {
      store: copy,
    });
    sendRecord(to, { kind: 'scratch' }, copy);
    asm.call('close', [copy]);
  },

  coverLayer({ parents, directories, absent, files, links = {}, xattr }, { asm }) {
    const inLayer = (path: string) => asm.string(`cover${path}`);
    const directory = ({ path, mode, uid, gid }: LayerDirectory) => {
      asm.call('mkdirat', [AT_FDCWD, inLayer(path), mode]);
      if (uid !== 0 || gid !== 0) asm.call('fchownat', [AT_FDCWD, inLayer(path), uid, gid, AT_SYMLINK_NOFOLLOW]);
      // mkdir takes no sticky or set-id bits.
      if (mode & 0o7000) asm.call('fchmodat', [AT_FDCWD, inLayer(path), mode]);
    };
    asm.call('mkdirat', [AT_FDCWD, asm.string('cover'), 0o755]);
    for (const parent of parents) directory(parent);
    for (const covered of directories) {
      directory(covered);
      asm.call('setxattr', [inLayer(covered.path), asm.string(`${xattr}.overlay.opaque`), asm.string('y'), 1, 0]);
    }
    for (const path of absent) asm.call('mknodat', [AT_FDCWD, inLayer(path), S.IFCHR, 0]); // a whiteout
    for (const [path, destination] of Object.entries(links))
      asm.call('symlinkat', [asm.string(destination), AT_FDCWD, inLayer(path)]);
    for (const { path, content } of files) {
      const file = asm.slot();
      asm.call('openat', [AT_FDCWD, inLayer(path), O.WRONLY | O.CREAT | O.EXCL | O.CLOEXEC, 0o644], { store: file });
      asm.call('write', [file, asm.string(content), Buffer.byteLength(content)]);
      asm.call('close', [file]);
    }
  },

  mountOverlay({ target, lower, upper, options, attributes, appendLower, optional }, to) {
    const { asm } = to;
    const all: [key: string, value: string | true][] = appendLower
      ? lower.map((path) => ['lowerdir+', path])
      : [['lowerdir', lower.map((path) => path.replace(/[\\:,]/g, '\\$&')).join(':')]];
    if (upper) {
      const { upper: upperPath, work } =
        'scratch' in upper ? { upper: `${upper.scratch}.upper`, work: `${upper.scratch}.work` } : upper;
      if ('scratch' in upper) {
        const { mode = 0o755, uid = 0, gid = 0 } = upper;
        asm.call('mkdirat', [AT_FDCWD, asm.string(upperPath), mode], { tolerate: ['EEXIST'] });
        asm.call('mkdirat', [AT_FDCWD, asm.string(work), 0o755], { tolerate: ['EEXIST'] });
        // EINVAL: an owner that the user namespace does not know.
        if (uid !== 0 || gid !== 0)
          asm.call('fchownat', [AT_FDCWD, asm.string(upperPath), uid, gid, 0], { tolerate: ['EINVAL', 'EPERM'] });
        if (mode & 0o7000) asm.call('fchmodat', [AT_FDCWD, asm.string(upperPath), mode]);
      }
      all.push(['upperdir', upperPath], ['workdir', work]);
    }
    all.push(...Object.entries(options));
    const mount = target === '/' ? to.handle('root') : asm.slot();
    const skip = new Label();
    newMount(to, 'overlay', all, bits(attributes), mount, optional && { tolerate: optional, otherwise: skip });
    attach(to, mount, target);
    asm.place(skip);
  },

  emptyRoot({ directories, links }, to) {
    const { asm } = to;
    const root = to.handle('root');
    asm.call('mkdirat', [AT_FDCWD, asm.string('tree'), 0o755], { tolerate: ['EEXIST'] });
    for (const path of directories)
      asm.call('mkdirat', [AT_FDCWD, asm.string(`tree${path}`), 0o755], { tolerate: ['EEXIST'] });
    for (const [path, destination] of Object.entries(links)) {
      asm.call('symlinkat', [asm.string(destination), AT_FDCWD, asm.string(`tree${path}`)], { tolerate: ['EEXIST'] });
    }
    asm.call('open_tree', [AT_FDCWD, asm.string('tree'), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC], { store: root });
    attach(to, root, '/');
  },

  bindRoot({ source, attributes }, to) {
    const { asm } = to;
    const root = to.handle('root');
    asm.call('open_tree', [AT_FDCWD, asm.string(source), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE], {
      store: root,
    });
    if (attributes.length > 0) setAttributes(to, root, bits(attributes), true);
    attach(to, root, '/');
  },

  mount({ type, target, options, attributes, optional, plain, made, handle }, to) {
    const { asm } = to;
    const mount = handle ? to.handle(handle) : asm.slot();
    const skip = new Label();
    newMount(to, type, options, bits(attributes), mount, optional && { tolerate: optional, otherwise: skip });
    const place = (made ? openTarget : resolveTarget)(to, target, 'directory', plain ? PLAIN : IN_ROOT);
    attachTo(to, mount, place);
    asm.place(skip);
  },

  mountDev({ options, nodes, links, directories, bindNodes, sealed }, to) {
    const { asm } = to;
    const dev = to.handle('dev');
    newMount(to, 'tmpfs', options, MOUNT_ATTR.NOSUID | MOUNT_ATTR.NOEXEC | MOUNT_ATTR.STRICTATIME, dev);
    for (const name of directories) asm.call('mkdirat', [dev, asm.string(name), 0o755]);
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
    for (const { name } of nodes) {
      const node = asm.slot();
      const from = bindNodes ? ([AT_FDCWD, asm.string(`/dev/${name}`)] as const) : ([dev, asm.string(name)] as const);
      asm.call('open_tree', [...from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC], { store: node });
      asm.call('move_mount', [node, asm.string(''), dev, asm.string(name), MOVE_MOUNT.F_EMPTY_PATH]);
    }
    // Not before now: the copies above have the attributes of the mount they were taken from.
    if (sealed) setAttributes(to, dev, MOUNT_ATTR.NODEV, false);
  },

  bind({ source, target, type, attributes, recursive, propagation, optional }, to) {
    const { asm } = to;
    const skip = new Label();
    let mount: Operand;
    if (typeof source === 'string') {
      mount = asm.slot();
      asm.call(
        'open_tree',
        [AT_FDCWD, asm.string(source), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0)],
        { store: mount, ...(optional && { tolerate: ['ENOENT'], otherwise: skip }) },
      );
    } else {
      mount = 'fd' in source ? to.fd(source.fd) : to.handle(source.handle);
    }
    // Attributes first, place second: there is no moment at which the mount is there and writable.
    setAttributes(
      to,
      mount,
      bits(attributes),
      recursive,
      propagation ? propagationFlags[propagation] & ~MS.REC : MS.PRIVATE,
    );
    const place = resolveTarget(to, target, type, IN_ROOT);
    attachTo(to, mount, place);
    asm.place(skip);
  },

  file({ target, ...file }, to) {
    const tree = to.asm.slot();
    detachedFile(to, file, tree);
    attach(to, tree, target, 'file');
  },

  mask({ paths }, to) {
    const { asm } = to;
    const scratch = to.handle('scratch');
    const empty = asm.slot();
    const nothing = asm.slot();
    // Copies of an attached read-only mount are read-only: one mount_setattr serves all.
    asm.call('mkdirat', [scratch, asm.string('empty'), 0o755], { tolerate: ['EEXIST'] });
    asm.call('open_tree', [scratch, asm.string('empty'), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC], { store: empty });
    setAttributes(to, empty, MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC, false);
    asm.call('move_mount', [empty, asm.string(''), scratch, asm.string('empty'), MOVE_MOUNT.F_EMPTY_PATH]);
    asm.call('openat', [to.handle('dev'), asm.string('null'), O.PATH | O.NOFOLLOW | O.CLOEXEC], { store: nothing });
    const asDirectory = asm.words([O.PATH | O.DIRECTORY | O.CLOEXEC, 0, IN_ROOT]);
    const asFile = asm.words([O.PATH | O.CLOEXEC, 0, IN_ROOT]);
    for (const path of paths) {
      const [place, cover] = [asm.slot(), asm.slot()];
      const [isFile, covered, done] = [new Label(), new Label(), new Label()];
      asm.call('openat2', [to.handle('root'), asm.string(path), asDirectory, 24], {
        store: place,
        tolerate: ['ENOENT', 'ENOTDIR'],
        otherwise: isFile,
      });
      asm.call('open_tree', [empty, asm.string(''), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH], {
        store: cover,
      });
      asm.jump(covered);
      asm.place(isFile);
      asm.jumpIfEqual(place, -ENOENT, done);
      asm.call('openat2', [to.handle('root'), asm.string(path), asFile, 24], {
        store: place,
        tolerate: ['ENOENT', 'ENOTDIR'],
        otherwise: done,
      });
      asm.call('open_tree', [nothing, asm.string(''), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH], {
        store: cover,
      });
      asm.place(covered);
      attachTo(to, cover, place);
      asm.place(done);
    }
  },

  readonlyPaths({ paths }, to) {
    const { asm } = to;
    const how = asm.words([O.PATH | O.CLOEXEC, 0, IN_ROOT]);
    for (const path of paths) {
      const [place, cover, skip] = [asm.slot(), asm.slot(), new Label()];
      asm.call('openat2', [to.handle('root'), asm.string(path), how, 24], {
        store: place,
        tolerate: ['ENOENT', 'ENOTDIR'],
        otherwise: skip,
      });
      asm.call(
        'open_tree',
        [place, asm.string(''), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE],
        { store: cover },
      );
      setAttributes(to, cover, MOUNT_ATTR.RDONLY, true);
      attachTo(to, cover, place);
      asm.place(skip);
    }
  },

  readonlyRoot(_, to) {
    setAttributes(to, to.handle('root'), MOUNT_ATTR.RDONLY, false);
  },

  pivotRoot(_, to) {
    const { asm } = to;
    const dot = asm.string('.');
    asm.call('fchdir', [to.handle('root')]);
    // Every unmount waits for all CPUs (synchronize_rcu_expedited). Below the old root the scratch goes away with it; the
    // stage came from /proc/self/fd, so /proc is there.
    asm.call('move_mount', [
      to.handle('scratch'),
      asm.string(''),
      AT_FDCWD,
      asm.string('/proc'),
      MOVE_MOUNT.F_EMPTY_PATH,
    ]);
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one, where an unmount finds it.
    asm.call('pivot_root', [dot, dot]);
    asm.call('umount2', [dot, MNT_DETACH]);
    asm.call('chdir', [asm.string('/')]);
  },
};

const ENOENT = 2;

function bits(attributes: readonly MountAttribute[]): number {
  return attributes.reduce((all, name) => all | attributeBits[name], 0);
}

/** dev_t as the kernel decodes it: new_decode_dev in <linux/kdev_t.h>. */
function makeDevice(major: number, minor: number): number {
  return (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12);
}

/** fsopen, fsconfig, fsmount: a detached mount in `store`. */
function newMount(
  { asm }: Lowering,
  type: string,
  options: Readonly<Record<string, string | true>> | readonly (readonly [string, string | true])[],
  attributes: number,
  store: Slot,
  failure: { tolerate?: readonly string[]; otherwise?: Label } = {},
): void {
  const context = asm.slot();
  asm.call('fsopen', [asm.string(type), FSOPEN_CLOEXEC], { ...failure, store: context });
  for (const [key, value] of Array.isArray(options) ? options : Object.entries(options)) {
    if (value === true) asm.call('fsconfig', [context, FSCONFIG.SET_FLAG, asm.string(key), 0, 0], failure);
    else asm.call('fsconfig', [context, FSCONFIG.SET_STRING, asm.string(key), asm.string(value), 0], failure);
  }
  asm.call('fsconfig', [context, FSCONFIG.CMD_CREATE, 0, 0, 0], failure);
  asm.call('fsmount', [context, FSMOUNT_CLOEXEC, attributes], { ...failure, store });
  asm.call('close', [context]);
}

/** mount_setattr of a detached mount, all at once. */
function setAttributes({ asm }: Lowering, mount: Operand, set: number, recursive: boolean, propagation = 0): void {
  // Setting any atime mode means clearing the field first (mount_setattr(2)).
  const clear = set & MOUNT_ATTR._ATIME ? MOUNT_ATTR._ATIME : 0;
  asm.call('mount_setattr', [
    mount,
    asm.string(''),
    AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0),
    asm.words([set, clear, propagation, 0]),
    32,
  ]);
}

/** Puts a detached mount in its place: the root into the scratch, everything else inside the root. */
function attach(to: Lowering, mount: Operand, target: string, type: 'file' | 'directory' = 'directory'): void {
  const { asm } = to;
  if (target === '/') {
    asm.call('mkdirat', [to.handle('scratch'), asm.string('root'), 0o755], { tolerate: ['EEXIST'] });
    asm.call('move_mount', [mount, asm.string(''), to.handle('scratch'), asm.string('root'), MOVE_MOUNT.F_EMPTY_PATH]);
  } else attachTo(to, mount, resolveTarget(to, target, type, IN_ROOT));
}

/** Puts a detached mount where a descriptor says: nothing that is renamed meanwhile leads it elsewhere. */
function attachTo({ asm }: Lowering, mount: Operand, place: Operand): void {
  const nowhere = asm.string('');
  asm.call('move_mount', [mount, nowhere, place, nowhere, MOVE_MOUNT.F_EMPTY_PATH | MOVE_MOUNT.T_EMPTY_PATH]);
}

/** A file with content. */
export interface FileContent {
  readonly content: string | Uint8Array;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** A mount of one file, on a tmpfs of its own, in `store`. */
export function detachedFile(to: Lowering, { content, mode, uid, gid }: FileContent, store: Slot): void {
  const { asm } = to;
  const [mount, file] = [asm.slot(), asm.slot()];
  const bytes = Buffer.from(content);
  const options = { mode: '0755', size: String(bytes.length + 65536), nr_inodes: '3' };
  newMount(to, 'tmpfs', options, MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV, mount);
  asm.call('openat', [mount, asm.string('file'), O.WRONLY | O.CREAT | O.EXCL | O.CLOEXEC, mode], { store: file });
  // As bytes, which no explanation prints.
  asm.call('write', [file, asm.bytes(bytes), bytes.length]);
  asm.call('fchown', [file, uid, gid]);
  asm.call('fchmod', [file, mode]);
  asm.call('close', [file]);
  // A mount of one file: attach the tmpfs out of sight, take the file's own mount from it.
  asm.call('mkdirat', [to.handle('scratch'), asm.string('files'), 0o700], { tolerate: ['EEXIST'] });
  asm.call('move_mount', [mount, asm.string(''), to.handle('scratch'), asm.string('files'), MOVE_MOUNT.F_EMPTY_PATH]);
  asm.call('open_tree', [mount, asm.string('file'), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC], { store });
}

/** A descriptor of a path inside the root that is there. */
function openTarget(to: Lowering, path: string, type: 'file' | 'directory', resolve: number): Slot {
  const { asm } = to;
  const place = asm.slot();
  asm.call('openat2', [to.handle('root'), asm.string(path), openHow(to, type, resolve), 24], { store: place });
  return place;
}

/** struct open_how for a place to mount on. */
function openHow({ asm }: Lowering, type: 'file' | 'directory', resolve: number): number {
  return asm.words([O.PATH | O.CLOEXEC | (type === 'directory' ? O.DIRECTORY : 0), 0, resolve]);
}

/**
 * A descriptor of a path inside the root. What is missing is made component by component, each resolved from the root
 * again: a symbolic link that a hostile image planted leads to somewhere inside it, or the start fails.
 */
function resolveTarget(to: Lowering, path: string, type: 'file' | 'directory', resolve: number): Slot {
  const { asm } = to;
  const root = to.handle('root');
  const place = asm.slot();
  const [missing, found] = [new Label(), new Label()];
  const how = openHow(to, type, resolve);
  asm.call('openat2', [root, asm.string(path), how, 24], { store: place, tolerate: ['ENOENT'], otherwise: missing });
  asm.jump(found);

  asm.place(missing);
  const directoryHow = openHow(to, 'directory', resolve);
  const parts = path.split('/').filter(Boolean);
  let parent: Slot = root;
  parts.forEach((part, i) => {
    const last = i === parts.length - 1;
    if (last && type === 'file')
      asm.call('mknodat', [parent, asm.string(part), S.IFREG | 0o644, 0], { tolerate: ['EEXIST'] });
    else asm.call('mkdirat', [parent, asm.string(part), 0o755], { tolerate: ['EEXIST'] });
    const next = last ? place : asm.slot();
    asm.call('openat2', [root, asm.string(`/${parts.slice(0, i + 1).join('/')}`), last ? how : directoryHow, 24], {
      store: next,
    });
    parent = next;
  });
  asm.place(found);
  return place;
}
