import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, O, S } from '@ns/libc';
import type { Lowerings } from '../lowering.ts';
import { Label } from '../program.ts';
import { attach, attachLayer } from './attach.ts';
import { type BindStep, bindLowerings } from './bind.ts';
import { bits, type MountAttribute } from './mount-attributes.ts';
import { newMount } from './new-mount.ts';

/** <unistd.h> */
const W_OK = 2;

/** A directory above a hidden path, with what the merged directory shall look like. */
export interface LayerDirectory {
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Where an overlay's writes go. */
export type OverlayUpper =
  /** Directories of the scratch file system, made when they are missing. */
  | ({ readonly scratch: string } & MergedTop)
  /** The same below a path that keeps them. */
  | ({ readonly kept: string } & MergedTop)
  /** Directories that are there. */
  | { readonly upper: string; readonly work: string };

/** What the merged top directory looks like: default 0755, root's. */
export interface MergedTop {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

/** Steps that put layers together. */
export type OverlayStep =
  /**
   * A layer of nothing but directories and links, for mounts to go on. Overlays name it `tree`; a start that uses the scratch
   * again adds what is new.
   */
  | {
      readonly op: 'emptyLayer';
      /** Parents first. */
      readonly directories: readonly LayerDirectory[];
      readonly links: Readonly<Record<string, string>>;
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
      /**
       * Which extended attributes the overlay will read: `user` in a user namespace. A tmpfs keeps those since 6.6; before, what
       * is below `directories` shows, until something is mounted there.
       */
      readonly xattr: 'trusted' | 'user';
    }
  /** A union file system as the root, or at `target` inside it. Relative paths name layers in the scratch. */
  | {
      readonly op: 'mountOverlay';
      readonly target: string;
      /** It goes into the scratch under this name instead, as a layer of an overlay that follows. */
      readonly layer?: string;
      readonly lower: readonly string[];
      readonly upper?: OverlayUpper;
      readonly options: Readonly<Record<string, string | true>>;
      readonly attributes: readonly MountAttribute[];
      /** `lowerdir+` (since 6.8); otherwise one `lowerdir` string. */
      readonly appendLower: boolean;
      /** Errors of looking at the layers after which the mount is left out. */
      readonly optional?: readonly string[];
      /**
       * What is mounted instead where there are mounts below the layer that a user namespace must keep: there the kernel lets no
       * overlay look (EINVAL, CVE-2021-3732), and other programs mount until the moment of the start.
       */
      readonly instead?: InsteadOfOverlay;
    };

/** The directories that an overlay writes to. */
export function overlayDirectories(upper: OverlayUpper): { readonly upper: string; readonly work: string } {
  if ('upper' in upper) return upper;
  const name = 'scratch' in upper ? upper.scratch : upper.kept;
  return { upper: `${name}.upper`, work: `${name}.work` };
}

/** A step that does without that layer. */
export type InsteadOfOverlay = BindStep | Extract<OverlayStep, { op: 'mountOverlay' }>;

export const overlayLowerings: Lowerings<OverlayStep> = {
  emptyLayer({ directories, links }, { asm }) {
    const inLayer = (path: string) => asm.string(`tree${path}`);
    asm.call('mkdirat', [AT_FDCWD, asm.string('tree'), 0o755], { tolerate: ['EEXIST'] });
    for (const { path, mode, uid, gid } of directories) {
      asm.call('mkdirat', [AT_FDCWD, inLayer(path), mode], { tolerate: ['EEXIST'] });
      if (uid !== 0 || gid !== 0) asm.call('fchownat', [AT_FDCWD, inLayer(path), uid, gid, AT_SYMLINK_NOFOLLOW]);
      // mkdir takes no sticky or set-id bits.
      if (mode & 0o7000) asm.call('fchmodat', [AT_FDCWD, inLayer(path), mode]);
    }
    for (const [path, destination] of Object.entries(links))
      asm.call('symlinkat', [asm.string(destination), AT_FDCWD, inLayer(path)], { tolerate: ['EEXIST'] });
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
      const opaque = asm.string(`${xattr}.overlay.opaque`);
      asm.call('setxattr', [inLayer(covered.path), opaque, asm.string('y'), 1, 0], {
        tolerate: xattr === 'user' ? ['EOPNOTSUPP'] : [],
      });
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

  mountOverlay({ target, layer, lower, upper, options, attributes, appendLower, optional, instead }, to) {
    const { asm } = to;
    const all: [key: string, value: string | true][] = appendLower
      ? lower.map((path) => ['lowerdir+', path])
      : [['lowerdir', lower.map((path) => path.replace(/[\\:,]/g, '\\$&')).join(':')]];
    if (upper) {
      const { upper: upperPath, work } = overlayDirectories(upper);
      if (!('upper' in upper)) {
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
    const mount = target === '/' && layer === undefined ? to.handle('root') : asm.slot();
    const [end, withoutOverlay] = [new Label(), new Label()];
    const tolerate = instead ? ['EINVAL'] : optional;
    newMount(to, 'overlay', all, bits(attributes), mount, tolerate && { tolerate, otherwise: withoutOverlay });
    // Without room for its work directory overlayfs says nothing and is read-only (fs/overlayfs/super.c): EROFS here.
    if (upper && !('scratch' in upper)) asm.call('faccessat', [mount, asm.string('.'), W_OK]);
    if (layer === undefined) attach(to, mount, target);
    else attachLayer(to, mount, layer);
    if (instead) asm.jump(end);
    asm.place(withoutOverlay);
    if (instead?.op === 'bind') bindLowerings.bind(instead, to);
    if (instead?.op === 'mountOverlay') overlayLowerings.mountOverlay(instead, to);
    asm.place(end);
  },
};
