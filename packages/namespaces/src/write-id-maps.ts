import { readFileSync } from 'node:fs';
import {
  cString,
  fileSystemMagic,
  MAGIC,
  NsError,
  O,
  OwnedFd,
  onlyKnownKeys,
  open,
  openAt,
  SpecError,
  SYS,
  syscall,
  UnavailableError,
  withDescriptorsForChild,
} from '@ns/libc';
import { checkAction } from './hints.ts';
import type { IdMap } from './id-map.ts';
import type { IdMappings } from './id-mappings.ts';

/** Maps, and what becomes of setgroups(2) in the user namespace. */
export interface IdMapsToWrite extends IdMappings {
  /**
   * `'deny'` takes setgroups(2) away for good. Without it a member of a group could leave it, and files that exclude the
   * group (mode 0604) would be his (CVE-2014-8989); so the kernel wants it before an ordinary user writes a gid map.
   * Default: `'deny'` when the kernel wants it, else `'allow'`.
   */
  readonly setgroups?: 'allow' | 'deny';
}

/**
 * Maps the ids of a user namespace that has none yet: writes `/proc/PID/uid_map` and `gid_map` itself where the kernel lets it, and
 * otherwise asks newuidmap(1) and newgidmap(1), which hand out what `/etc/subuid` and `/etc/subgid` grant.
 *
 * @param pid - a process in the user namespace, which is a child of ours; the caller sees to it that it lives
 * @throws SyscallError `EPERM`, `EINVAL`; the hint says which rule it was
 * @throws UnavailableError when the helpers are needed and not installed
 * @throws NsError `ERR_NS_ID_MAP_REFUSED` when a helper refuses, with its words
 * @throws SpecError for what is no pid
 *
 * @example
 * ```ts
 * const range = IdMap.single(0, 100000, 65536);
 * await writeIdMaps(pid, { uids: range, gids: range });
 * ```
 */
export async function writeIdMaps(pid: number, maps: IdMapsToWrite): Promise<void> {
  if (canWriteDirectly(maps)) writeIdMapsDirectly(pid, maps);
  else await writeIdMapsWithHelpers(pid, maps);
}

const CAP_SETGID = 6;
const CAP_SETUID = 7;

/**
 * Whether the kernel lets this process write the maps itself: with CAP_SETUID and CAP_SETGID, or to map its own ids only.
 *
 * Reads `/proc/thread-self/status`.
 *
 * @example
 * ```ts
 * canWriteDirectly(ownIdMappings()); // true for everybody
 * ```
 */
export function canWriteDirectly(maps: IdMappings): boolean {
  checkMaps(maps);
  const { uids, gids } = maps;
  return isPrivileged() || (isOwnId(uids, process.geteuid!()) && isOwnId(gids, process.getegid!()));
}

function checkMaps(maps: unknown): void {
  onlyKnownKeys(maps, ['uids', 'gids', 'setgroups'], 'maps');
  for (const side of ['uids', 'gids'] as const)
    if (!Array.isArray((maps[side] as Partial<IdMap> | null | undefined)?.ranges))
      throw new SpecError(`maps.${side}`, 'an IdMap', maps[side], 'IdMap.of makes one');
  if (maps.setgroups !== undefined && maps.setgroups !== 'allow' && maps.setgroups !== 'deny')
    throw new SpecError('maps.setgroups', "'allow' or 'deny'", maps.setgroups);
}

function isPrivileged(): boolean {
  const digits = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/thread-self/status', 'latin1'))?.[1] ?? '0';
  const needed = (1n << BigInt(CAP_SETGID)) | (1n << BigInt(CAP_SETUID));
  return (BigInt(`0x${digits}`) & needed) === needed;
}

function isOwnId({ ranges }: IdMap, id: number): boolean {
  return ranges.length === 1 && ranges[0]!.host === id && ranges[0]!.size === 1;
}

/**
 * Writes the maps of a process's user namespace, once and for all.
 *
 * @throws SyscallError `EPERM`, `EINVAL`, `ENOENT`
 *
 * @example
 * ```ts
 * writeIdMapsDirectly(pid, ownIdMappings());
 * ```
 */
export function writeIdMapsDirectly(pid: number, maps: IdMapsToWrite): void {
  checkMaps(maps);
  using directory = openProcess(pid);
  // The uid map first: gid_map is judged by the ids that the writer has, setgroups must precede gid_map.
  writeFile(directory, 'uid_map', maps.uids.toString(), 'uidMap');
  if (maps.setgroups === 'deny' || (maps.setgroups === undefined && !isPrivileged())) {
    writeFile(directory, 'setgroups', 'deny', 'setgroups');
  }
  writeFile(directory, 'gid_map', maps.gids.toString(), 'uidMap');
}

/**
 * Has newuidmap(1) and newgidmap(1) (Debian package `uidmap`) write the maps. They are setuid programs and check them against
 * `/etc/subuid` and `/etc/subgid`.
 *
 * @throws UnavailableError when they are not installed
 * @throws NsError `ERR_NS_ID_MAP_REFUSED`
 *
 * @example
 * ```ts
 * await writeIdMapsWithHelpers(pid, rootlessIdMappings());
 * ```
 */
export async function writeIdMapsWithHelpers(pid: number, maps: IdMapsToWrite): Promise<void> {
  checkMaps(maps);
  if (maps.setgroups === 'deny') {
    using directory = openProcess(pid);
    writeFile(directory, 'setgroups', 'deny', 'setgroups');
  }
  await runHelper('newuidmap', pid, maps.uids);
  await runHelper('newgidmap', pid, maps.gids);
}

async function runHelper(helper: 'newuidmap' | 'newgidmap', pid: number, map: IdMap): Promise<void> {
  // Imported here: execa takes longer to load than everything else here takes to run.
  const { execa } = await import('execa');
  const numbers = map.ranges.flatMap(({ container, host, size }) => [container, host, size]).map(String);
  const result = await withDescriptorsForChild(() =>
    execa(helper, [String(pid), ...numbers], {
      reject: false,
      stdin: 'ignore',
      cwd: '/',
      extendEnv: false,
      env: { PATH: HELPER_PATH },
      timeout: 10_000,
    }),
  );
  if (result.exitCode === 0) return;
  if (result.code === 'ENOENT')
    throw new UnavailableError(
      helper,
      'it is not installed',
      'Install it (Debian: apt install uidmap), or map only your own id',
    );
  const file = helper === 'newuidmap' ? '/etc/subuid' : '/etc/subgid';
  throw new NsError('ERR_NS_ID_MAP_REFUSED', `${helper}: ${result.stderr.trim() || result.shortMessage}`, {
    hint: `${file} must grant the ids to this user, and ${helper} must be setuid root or have file capabilities`,
  });
}

// Root's own places: a directory that somebody else put into PATH decides nothing about ids.
const HELPER_PATH = '/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin';

function openProcess(pid: number): OwnedFd {
  if (!Number.isInteger(pid) || pid <= 0) throw new SpecError('pid', 'a process id', pid);
  const directory = open(`/proc/${pid}`, O.PATH | O.DIRECTORY);
  if (fileSystemMagic(directory.fd) === MAGIC.PROC) return directory;
  directory.close();
  // A write that goes elsewhere would leave the namespace unmapped without a word (CVE-2025-52881).
  throw new UnavailableError('writing id maps', '/proc is not a procfs', 'Mount procfs at /proc');
}

function writeFile(directory: OwnedFd, name: string, text: string, action: 'uidMap' | 'setgroups'): void {
  const path = `/proc/PID/${name}`;
  using file = new OwnedFd(checkAction('open', 'openat', openAt(directory.fd, name, O.WRONLY | O.NOFOLLOW), { path }));
  // The kernel takes a map in a single write.
  const bytes = cString(text, name);
  checkAction(action, 'write', syscall(SYS.write, file.fd, bytes.address, text.length), { path });
}
