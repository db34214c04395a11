import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { release } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import { AT_FDCWD, S, statAt, UnavailableError } from '@ns/libc';
import { type MountInfo, MountTable } from '@ns/mounts';
import { hiddenPaths } from './defaults.ts';

/** Facts of this machine that a plan depends on. Plans are pure functions of a specification and these. */
export interface Host {
  /** Number of the highest capability the kernel knows. */
  readonly lastCapability: number;
  /** Capabilities that this process could pass on. */
  readonly boundingSet: bigint;
  readonly kernel: readonly [major: number, minor: number];
  /** Effective user id of this process. */
  readonly uid: number;
  /** Hard limit on this process's descriptors, which an ordinary user cannot exceed. */
  readonly openFilesLimit: number;
  /** Other mounts with data, for a view of the host's own file system. */
  readonly dataMounts: readonly { readonly path: string; readonly readonly: boolean }[];
  /** What stands in the host's root directory. */
  readonly topLevel: () => readonly TopLevelEntry[];
  /** Type and ownership of a path of the host; undefined when there is none. */
  stat(path: string): HostFile | undefined;
}

/** An entry of the host's root directory: a directory, or a link such as /bin. */
export interface TopLevelEntry {
  readonly path: string;
  /** Where a link leads. */
  readonly link: string | undefined;
}

/** What {@link Host.stat} knows. */
export interface HostFile {
  readonly type: 'directory' | 'file' | 'link' | 'other';
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

// File systems whose files can be the lower layer of an overlay and are the machine's own data.
const dataFileSystems = new Set([
  'ext2',
  'ext3',
  'ext4',
  'xfs',
  'btrfs',
  'f2fs',
  'tmpfs',
  'zfs',
  'squashfs',
  'erofs',
  'overlay',
  'bcachefs',
]);
const replacedPaths = ['/proc', '/sys', '/dev', '/run', '/root', '/home', '/boot'];

let constant: Pick<Host, 'lastCapability' | 'boundingSet' | 'kernel' | 'uid' | 'openFilesLimit'> | undefined;
let mountTable: MountTable | undefined;
let known: { readonly mounts: readonly MountInfo[]; readonly host: Host } | undefined;

/**
 * Reads the facts. What cannot change while this process lives is read once.
 *
 * @throws UnavailableError /proc does not tell
 */
export function readHost(): Host {
  constant ??= {
    lastCapability: Number(readProc('sys/kernel/cap_last_cap')),
    boundingSet: BigInt(`0x${/^CapBnd:\s*(\w+)/m.exec(readProc('self/status'))![1]}`),
    kernel: release().split('.').slice(0, 2).map(Number) as [number, number],
    uid: process.geteuid!(),
    openFilesLimit: Number(/^Max open files\s+\w+\s+(\d+)/m.exec(readProc('self/limits'))![1]),
  };
  mountTable ??= new MountTable();
  const mounts = mountTable.read();
  if (known?.mounts !== mounts) {
    const data = dataMounts(mounts);
    // Most mounts that come and go have none: what was made from the others holds.
    const host =
      known && isDeepStrictEqual(data, known.host.dataMounts)
        ? known.host
        : { ...constant, dataMounts: data, topLevel: listTopLevel, stat: statHostFile };
    known = { mounts, host };
  }
  return known.host;
}

function readProc(path: string): string {
  try {
    return readFileSync(`/proc/${path}`, 'utf8');
  } catch (error) {
    throw new UnavailableError(
      'making containers',
      `/proc is not whole: ${(error as Error).message}`,
      'Mount all of it: mount -t proc proc /proc, without subset=pid',
    );
  }
}

/** Does this kernel have at least the given version? */
export function kernelAtLeast({ kernel }: Pick<Host, 'kernel'>, major: number, minor: number): boolean {
  return kernel[0] > major || (kernel[0] === major && kernel[1] >= minor);
}

function dataMounts(mounts: readonly MountInfo[]): Host['dataMounts'] {
  const found = new Map<string, boolean>();
  for (const { target, type, options } of mounts) {
    const inside = replacedPaths.some((path) => target === path || target.startsWith(`${path}/`));
    if (target !== '/' && !inside && dataFileSystems.has(type)) found.set(target, options.includes('ro'));
  }
  return [...found].map(([path, readonly]) => ({ path, readonly })).sort((a, b) => a.path.localeCompare(b.path));
}

const fileTypes: Readonly<Record<number, HostFile['type']>> = {
  [S.IFDIR]: 'directory',
  [S.IFREG]: 'file',
  [S.IFLNK]: 'link',
};

// The private places of every view of this machine, and the directories on the way to them.
const wellKnown: ReadonlySet<string> = new Set(
  hiddenPaths.flatMap((path) => path.split('/').map((_, i, parts) => parts.slice(0, i + 1).join('/') || '/')),
);
const WELL_KNOWN_MS = 1000;
let looks: { since: number; files: Map<string, HostFile | undefined> } | undefined;

/** Well-known places are looked at once in a second at most: thirty looks are a sixth of what a start costs this thread. */
function statHostFile(path: string): HostFile | undefined {
  if (!wellKnown.has(path)) return lookAt(path);
  const now = performance.now();
  if (!looks || now - looks.since > WELL_KNOWN_MS) looks = { since: now, files: new Map() };
  const { files } = looks;
  if (!files.has(path)) files.set(path, lookAt(path));
  return files.get(path);
}

/** Are these files as they were when {@link Host.stat} told of them? */
export function isUnchanged(files: ReadonlyMap<string, HostFile | undefined>): boolean {
  for (const [path, before] of files) {
    const now = lookAt(path);
    if (now?.type !== before?.type || now?.mode !== before?.mode) return false;
    if (now?.uid !== before?.uid || now?.gid !== before?.gid) return false;
  }
  return true;
}

function lookAt(path: string): HostFile | undefined {
  const stat = statAt(AT_FDCWD, path);
  if (!stat) return undefined;
  return { type: fileTypes[stat.mode & S.IFMT] ?? 'other', mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid };
}

function listTopLevel(): TopLevelEntry[] {
  return readdirSync('/', { withFileTypes: true }).flatMap((entry): TopLevelEntry[] => {
    const path = `/${entry.name}`;
    if (entry.isSymbolicLink()) return [{ path, link: readlinkSync(path) }];
    return entry.isDirectory() ? [{ path, link: undefined }] : [];
  });
}
