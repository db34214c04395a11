import { readFileSync } from 'node:fs';
import { errnoName, SyscallError, unescapeMountField } from '@ns/libc';

/** How mount events travel to and from a mount. A mount may be both shared and a slave. */
export interface MountPropagation {
  /** Peer group it shares events with (`shared:N`). */
  readonly shared?: number;
  /** Peer group it receives events from (`master:N`). */
  readonly master?: number;
  /** Nearest dominant peer group under the reader's root (`propagate_from:N`), when the master itself is not visible. */
  readonly propagateFrom?: number;
  readonly unbindable: boolean;
}

/** One line of `/proc/PID/mountinfo`. */
export interface MountInfo {
  /** Unique among living mounts, but reused; see {@link statMount} for one that is not. */
  readonly id: number;
  readonly parentId: number;
  /** Device of the file system. */
  readonly major: number;
  readonly minor: number;
  /** The directory of the file system that is the mount's root. `…//deleted` when it was removed since. */
  readonly root: string;
  /** Where it is mounted, relative to the reader's root. */
  readonly target: string;
  /** Options of this mount: `['rw', 'nosuid', 'relatime']`. */
  readonly options: readonly string[];
  readonly propagation: MountPropagation;
  /** Optional fields this library does not know, as they stand. */
  readonly unknownFields: readonly string[];
  /** `ext4`, `fuse.sshfs`. */
  readonly type: string;
  /** What was mounted; may be empty. */
  readonly source: string;
  /** Options of the file system, shared by all its mounts. */
  readonly superOptions: readonly string[];
}

const none: readonly string[] = Object.freeze([]);
const privateMount: MountPropagation = Object.freeze({ unbindable: false });

// Options of mounts are the same few over thousands of lines; options of file systems are long and rarely the same.
const optionLists = new Map<string, readonly string[]>();
const CACHED_LISTS = 64;
const CACHED_LENGTH = 48;

function splitOptions(field: string): readonly string[] {
  if (field.length > CACHED_LENGTH) return split(field);
  let list = optionLists.get(field);
  if (list) return list;
  list = Object.freeze(split(field));
  if (optionLists.size >= CACHED_LISTS) optionLists.clear();
  optionLists.set(field, list);
  return list;
}

function split(field: string): string[] {
  const options = field.split(',');
  return field.includes('\\') ? options.map(unescapeMountField) : options;
}

function parsePropagation(fields: readonly string[]): {
  propagation: MountPropagation;
  unknownFields: readonly string[];
} {
  if (fields.length === 0) return { propagation: privateMount, unknownFields: none };
  const propagation: { -readonly [K in keyof MountPropagation]: MountPropagation[K] } = { unbindable: false };
  const unknownFields: string[] = [];
  for (const field of fields) {
    const colon = field.indexOf(':');
    const tag = colon < 0 ? field : field.slice(0, colon);
    const group = Number(field.slice(colon + 1));
    if (tag === 'shared') propagation.shared = group;
    else if (tag === 'master') propagation.master = group;
    else if (tag === 'propagate_from') propagation.propagateFrom = group;
    else if (tag === 'unbindable') propagation.unbindable = true;
    else unknownFields.push(field);
  }
  return { propagation, unknownFields };
}

/**
 * One line of mountinfo; see proc_pid_mountinfo(5).
 *
 * @returns `undefined` for a line that is none, so that a future kernel's addition never makes the whole file unreadable
 */
export function parseMountinfoLine(line: string): MountInfo | undefined {
  // A single space separates fields, and an empty source leaves two in a row: split, never collapse.
  const fields = line.split(' ');
  // The number of optional fields varies; a lone hyphen ends them.
  const hyphen = fields.indexOf('-', 6);
  const device = fields[2];
  if (hyphen < 0 || device === undefined || fields.length < hyphen + 3) return undefined;
  const colon = device.indexOf(':');
  return {
    id: Number(fields[0]),
    parentId: Number(fields[1]),
    major: Number(device.slice(0, colon)),
    minor: Number(device.slice(colon + 1)),
    root: unescapeMountField(fields[3]!),
    target: unescapeMountField(fields[4]!),
    options: splitOptions(fields[5]!),
    ...parsePropagation(hyphen === 6 ? none : fields.slice(6, hyphen)),
    type: unescapeMountField(fields[hyphen + 1]!),
    source: unescapeMountField(fields[hyphen + 2]!),
    superOptions: splitOptions(fields[hyphen + 3] ?? ''),
  };
}

/** The text of a mountinfo file. Order is the kernel's: a mount never stands before its parent, except after a move. */
export function parseMountinfo(text: string): MountInfo[] {
  const mounts: MountInfo[] = [];
  for (let start = 0; start < text.length; ) {
    let end = text.indexOf('\n', start);
    if (end < 0) end = text.length;
    const mount = parseMountinfoLine(text.slice(start, end));
    if (mount) mounts.push(mount);
    start = end + 1;
  }
  return mounts;
}

/**
 * The mounts a process sees: `/proc/PID/mountinfo`. Before Linux 5.8 an entry could be missed when mounts came and went
 * during the read; since then the file has a cursor that prevents it.
 *
 * @param pid - default: this process
 * @throws SyscallError ENOENT when there is no such process, EACCES when it is not ours to look at
 *
 * @example
 * ```ts
 * const overlays = readMountinfo().filter(({ type }) => type === 'overlay');
 * ```
 */
export function readMountinfo(pid?: number): MountInfo[] {
  const path = `/proc/${pid ?? 'self'}/mountinfo`;
  try {
    return parseMountinfo(readFileSync(path, 'utf8'));
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    if (errno === undefined) throw error;
    throw new SyscallError('read', errno, { path, doing: `read ${path} (${errnoName(errno)})`, cause: error });
  }
}

/** The mounts at or below a path, deepest last: the order to look at them in; unmount in reverse. */
export function mountsBelow(path: string, mounts: readonly MountInfo[] = readMountinfo()): MountInfo[] {
  const prefix = path === '/' ? '/' : `${path.replace(/\/+$/, '')}/`;
  return mounts.filter(
    (mount) => mount.target === prefix.slice(0, -1) || `${mount.target}/` === prefix || mount.target.startsWith(prefix),
  );
}
