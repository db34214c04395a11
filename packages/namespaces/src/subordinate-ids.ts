import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { NsError, O, open, SpecError, UnavailableError } from '@ns/libc';
import { IdMap } from './id-map.ts';
import type { IdMappings } from './id-mappings.ts';

/** A line of `/etc/subuid`: ids that a user may map besides the own. */
export interface SubordinateRange {
  /** The user's name or uid, as the file has it. */
  readonly user: string;
  /** The first id. */
  readonly start: number;
  /** How many. */
  readonly size: number;
}

/**
 * Reads the text of `/etc/subuid` or `/etc/subgid`: subuid(5). Lines that shadow would not understand (comments, other fields,
 * numbers beyond 32 bits, sizes of 0) are passed over, as it does.
 *
 * @example
 * ```ts
 * parseSubordinateIds('alice:100000:65536\n'); // [{ user: 'alice', start: 100000, size: 65536 }]
 * ```
 */
export function parseSubordinateIds(text: string): SubordinateRange[] {
  if (typeof text !== 'string') throw new SpecError('text', 'the text of /etc/subuid', text);
  const ranges: SubordinateRange[] = [];
  for (const line of text.split('\n')) {
    const match = /^([^:#\s][^:\s]*):(\d{1,10}):(\d{1,10})\s*$/.exec(line);
    if (!match) continue;
    const [start, size] = [Number(match[2]), Number(match[3])];
    if (size > 0 && start + size <= 0xffffffff) ranges.push({ user: match[1]!, start, size });
  }
  return ranges;
}

/** A user of this machine. Default everywhere: the one who runs this process. */
export interface SubordinateUser {
  /** As `/etc/passwd` has it; empty for one without a line there. */
  readonly name: string;
  /** The number, which may stand for the name in the files. */
  readonly uid: number;
}

/**
 * All of `/etc/subuid` (`'uid'`) or `/etc/subgid` (`'gid'`); nothing when the file does not exist. Needs no privilege.
 *
 * @throws SyscallError when the file is there and cannot be read: `EACCES`
 *
 * @example
 * ```ts
 * const mine = rangesOf(readSubordinateIds('uid'));
 * ```
 */
export function readSubordinateIds(ids: 'uid' | 'gid'): SubordinateRange[] {
  if (ids !== 'uid' && ids !== 'gid') throw new SpecError('ids', "'uid' or 'gid'", ids);
  try {
    using file = open(`/etc/sub${ids}`, O.RDONLY);
    return parseSubordinateIds(readFileSync(file.fd, 'utf8'));
  } catch (error) {
    if (error instanceof NsError && error.code === 'ENOENT') return [];
    throw error;
  }
}

/**
 * The ranges of one user, named by name or by uid.
 *
 * @example
 * ```ts
 * rangesOf(readSubordinateIds('gid'), { name: 'alice', uid: 1000 });
 * ```
 */
export function rangesOf(
  ranges: readonly SubordinateRange[],
  user: SubordinateUser = currentUser(),
): SubordinateRange[] {
  if (!Array.isArray(ranges)) throw new SpecError('ranges', 'an array of ranges', ranges);
  return ranges.filter((range) => range.user === user.name || range.user === String(user.uid));
}

function currentUser(): SubordinateUser {
  try {
    const { username: name, uid } = userInfo();
    return { name, uid };
  } catch {
    // A uid without a line in /etc/passwd has no name.
    return { name: '', uid: process.getuid!() };
  }
}

/**
 * The maps that rootless tools use: root inside is the user himself, 1 and up are his subordinate ids in the order of the
 * files. Files that root inside makes belong to him outside.
 *
 * @throws UnavailableError when `/etc/subuid` or `/etc/subgid` grants him nothing
 * @throws SyscallError `EACCES` for a file that is there and cannot be read
 *
 * @example
 * ```ts
 * await writeIdMaps(pid, rootlessIdMappings());
 * ```
 */
export function rootlessIdMappings(
  own: { readonly uid: number; readonly gid: number } = { uid: process.geteuid!(), gid: process.getegid!() },
): IdMappings {
  return { uids: rootlessMap('uid', own.uid), gids: rootlessMap('gid', own.gid) };
}

function rootlessMap(ids: 'uid' | 'gid', own: number): IdMap {
  const granted = rangesOf(readSubordinateIds(ids));
  if (granted.length === 0) {
    const fix = `As root: usermod --add-sub${ids}s 100000-165535 ${currentUser().name}; or map only your own id`;
    throw new UnavailableError(`a range of sub${ids}s`, `/etc/sub${ids} grants this user none`, fix);
  }
  let container = 1;
  const ranges = granted.map(({ start, size }) => {
    const range = { container, host: start, size };
    container += size;
    return range;
  });
  return IdMap.of([{ container: 0, host: own, size: 1 }, ...ranges], `sub${ids}s`);
}

/**
 * Only the caller's own ids, as root inside: needs no privilege and no helper.
 *
 * @example
 * ```ts
 * await writeIdMaps(pid, { ...ownIdMappings(), setgroups: 'deny' });
 * ```
 */
export function ownIdMappings(): IdMappings {
  return { uids: IdMap.single(0, process.geteuid!()), gids: IdMap.single(0, process.getegid!()) };
}
