import {
  check,
  closeBound,
  type DirectoryEntry,
  ERRNO,
  type OwnedFd,
  readDirectory,
  type Stat,
  SyscallError,
  statAt,
  statFd,
} from '@ns/libc';
import { enterChildDirectory } from './directory-place.ts';
import { isDirectory } from './file-type.ts';
import type { Owner } from './owner.ts';
import {
  directoryMarks,
  hiddenBy,
  isDeviceWhiteout,
  isXattrWhiteout,
  OLD_OPAQUE_MARKER,
  OPAQUE_MARKER,
  WHITEOUT_META_PREFIX,
  type WhiteoutForm,
} from './whiteouts.ts';

/** A path of a layer or tree, at the moment it is visited: `dirFd` is open until the next one is asked for. */
export interface LayerEntry {
  /** From the root, without a leading slash. */
  readonly path: string;
  /** Path of the directory it is in, empty for the root. */
  readonly parent: string;
  readonly name: string;
  readonly dirFd: number;
  readonly stat: Stat;
  /** It says that `path` is deleted; `stat` is that of the mark. */
  readonly whiteout: boolean;
  /** A directory that hides everything of the layers below. */
  readonly opaque: boolean;
}

/** A regular file, by what its directory says of it: whoever opens it asks the descriptor for the rest. */
export interface UnopenedFile extends Pick<LayerEntry, 'path' | 'parent' | 'name' | 'dirFd'> {
  readonly stat?: undefined;
  readonly whiteout: false;
}

/** How {@link walkLayer} reads what it finds. */
export interface WalkOptions {
  /** Marks to understand; `none` for a plain tree, in which a device 0/0 is a device. */
  readonly whiteouts: WhiteoutForm | 'none';
  /**
   * Also below directories where another file system is mounted: all, or those whose path this says yes to. Default: the mount
   * point is visited, nothing below it.
   */
  readonly crossMounts?: boolean | ((path: string) => boolean);
  /** What is in directories that may not be read (EACCES) is left out. Default: they are an error. */
  readonly readableOnly?: boolean;
  /**
   * Regular files are not looked at but opened later: they are an {@link UnopenedFile} each, where that can be. By then
   * somebody may have put a device there: only for a root below which none can be opened.
   */
  readonly unopenedFiles?: true;
  /** Owners of what is found, translated. Default: as they are. */
  readonly mapOwner?: (owner: Owner) => Owner;
}

interface Frame {
  readonly fd: number;
  readonly mount: number;
  readonly path: string;
  readonly entries: readonly DirectoryEntry[];
  next: number;
  readonly mayHoldXattrWhiteouts: boolean;
}

const byCodeUnit = ({ name: a }: DirectoryEntry, { name: b }: DirectoryEntry): number => (a < b ? -1 : a > b ? 1 : 0);
/** <dirent.h> */
const DT_REG = 8;

const hints: ReadonlyMap<number, string> = new Map([
  [-ERRNO.EMFILE, 'One descriptor is held per level of a tree: raise RLIMIT_NOFILE for trees this deep'],
  [
    -ERRNO.EACCES,
    'Likely a directory of another user of a container: an ordinary user reads only what is his. Let a program inside read it, or do this as root',
  ],
]);

function openFrame(
  dirFd: number,
  name: string,
  {
    path,
    mount,
    mayHoldXattrWhiteouts,
    readableOnly,
  }: Pick<Frame, 'path' | 'mount' | 'mayHoldXattrWhiteouts'> & Pick<WalkOptions, 'readableOnly'>,
): Frame | undefined {
  const fd = enterChildDirectory(dirFd, name);
  // Removed or replaced since it was listed.
  if (fd === -ERRNO.ENOENT || fd === -ERRNO.ENOTDIR || fd === -ERRNO.ELOOP) return undefined;
  if (fd === -ERRNO.EACCES && readableOnly) return undefined;
  check('openat', fd, {
    path,
    hint: hints.get(fd),
  });
  try {
    return { fd, mount, path, entries: readDirectory(fd).sort(byCodeUnit), next: 0, mayHoldXattrWhiteouts };
  } catch (error) {
    closeBound(fd);
    // An overlay opens what whoever mounted it may not read.
    if (readableOnly && error instanceof SyscallError && error.code === 'EACCES') return undefined;
    throw error;
  }
}

/**
 * Every path below `root`, a directory before what is in it, names in code unit order, which makes all that is derived
 * from it reproducible. Links are never followed: each step goes from a descriptor to one of its own names. Holds one
 * descriptor per level. The consumer decides about a directory's contents by calling `next('skip')`.
 */
export function walkLayer(
  root: OwnedFd,
  options: WalkOptions & { unopenedFiles: true },
): Generator<LayerEntry | UnopenedFile, void, 'skip' | undefined>;
export function walkLayer(root: OwnedFd, options: WalkOptions): Generator<LayerEntry, void, 'skip' | undefined>;
export function* walkLayer(
  root: OwnedFd,
  options: WalkOptions,
): Generator<LayerEntry | UnopenedFile, void, 'skip' | undefined> {
  const { whiteouts: form, crossMounts = false, unopenedFiles = false, readableOnly = false, mapOwner } = options;
  const marked = form !== 'none';
  const crosses = typeof crossMounts === 'function' ? crossMounts : () => crossMounts;
  const stack: Frame[] = [];
  try {
    const first = openFrame(root.fd, '.', {
      path: '',
      mount: statFd(root.fd).mountId,
      mayHoldXattrWhiteouts: marked && directoryMarks(root.fd, '').mayHoldXattrWhiteouts,
    });
    if (first) stack.push(first);
    for (let frame = stack.at(-1); frame; frame = stack.at(-1)) {
      const listed = frame.entries[frame.next++];
      if (listed === undefined) {
        closeBound(frame.fd);
        stack.pop();
        continue;
      }
      const { name } = listed;
      const { fd: dirFd, path: parent } = frame;
      const isMark = form === 'oci' && name.startsWith('.wh.');
      if (unopenedFiles && listed.type === DT_REG && !frame.mayHoldXattrWhiteouts && !isMark) {
        yield { path: join(parent, name), parent, name, dirFd, whiteout: false };
        continue;
      }
      const found = statAt(dirFd, name);
      if (!found) continue;
      const stat = mapOwner ? { ...found, ...mapOwner({ uid: found.uid, gid: found.gid }) } : found;
      if (isMark) {
        const hidden = hiddenBy(name);
        if (hidden !== undefined)
          yield { path: join(parent, hidden), parent, name: hidden, dirFd, stat, whiteout: true, opaque: false };
        if (hidden !== undefined || name.startsWith(WHITEOUT_META_PREFIX) || name === OLD_OPAQUE_MARKER) continue;
      }
      const path = join(parent, name);
      if (!isDirectory(stat)) {
        const whiteout =
          marked && (isDeviceWhiteout(stat) || (frame.mayHoldXattrWhiteouts && isXattrWhiteout(dirFd, name, stat)));
        yield { path, parent, name, dirFd, stat, whiteout, opaque: false };
        continue;
      }
      const marks = marked ? directoryMarks(dirFd, name) : { opaque: false, mayHoldXattrWhiteouts: false };
      const opaque = marks.opaque || (form === 'oci' && statAt(dirFd, `${name}/${OPAQUE_MARKER}`) !== undefined);
      const answer = yield { path, parent, name, dirFd, stat, whiteout: false, opaque };
      const { mountId: mount } = stat;
      if (answer === 'skip' || (mount !== frame.mount && !crosses(path))) continue;
      const { mayHoldXattrWhiteouts } = marks;
      const child = openFrame(dirFd, name, { path, mount, mayHoldXattrWhiteouts, readableOnly });
      if (child) stack.push(child);
    }
  } finally {
    for (const { fd } of stack) closeBound(fd);
  }
}

/** `name` below `parent`, both without a leading slash. */
export function join(parent: string, name: string): string {
  return parent === '' ? name : `${parent}/${name}`;
}
