import { SpecError } from '@ns/libc';
import { IdMap } from '@ns/namespaces';
import { readInRoot } from './read-in-root.ts';

/** Ids to run as, and what /etc/passwd knows of the user. */
export interface ResolvedUser {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary ones, `gid` among them. */
  readonly groups: readonly number[];
  readonly home: string;
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

/**
 * Finds a user as Docker does: numbers stand for themselves, names are looked up in the container's own files.
 *
 * @param user - `uid`, `uid:gid`, `name`, `name:group`
 * @param layers - directories that make up the root, topmost first
 * @throws SpecError for a name nobody has, and for a number that does not fit: it is never taken for a name (CVE-2016-3697)
 */
export function resolveUser(
  user: string | undefined,
  groups: readonly (number | string)[] | undefined,
  layers: readonly string[],
): ResolvedUser {
  if ((user === undefined || user === '0' || user === '0:0' || user === 'root') && !groups)
    return { uid: 0, gid: 0, groups: [0], home: '/root' };
  const [userPart = '0', groupPart] = (user ?? '0').split(':');
  const passwd = parsePasswd(readInRoot(layers, '/etc/passwd') ?? '');
  const group = parseGroup(readInRoot(layers, '/etc/group') ?? '');

  const number = parseId(userPart, 'user');
  const entry = passwd.find((candidate) =>
    number === undefined ? candidate.name === userPart : candidate.uid === number,
  );
  const uid = number ?? entry?.uid;
  if (uid === undefined) throw new SpecError('user', "a user of the container's /etc/passwd, or a number", userPart);
  const toGid = (name: number | string, field: string) => {
    const gid =
      typeof name === 'number'
        ? name
        : (parseId(name, field) ?? group.find((candidate) => candidate.name === name)?.gid);
    if (gid === undefined) throw new SpecError(field, "a group of the container's /etc/group, or a number", name);
    return gid;
  };
  const gid = groupPart === undefined ? (entry?.gid ?? 0) : toGid(groupPart, 'user');
  const memberships =
    entry && groupPart === undefined
      ? group.filter(({ members }) => members.includes(entry.name)).map((member) => member.gid)
      : [];
  const supplementary = groups ? groups.map((name) => toGid(name, 'groups')) : memberships;
  // With its own group among them, a set-group-ID program does not take it out of the group (CVE-2022-36109).
  return { uid, gid, groups: [...new Set([gid, ...supplementary])], home: entry?.home || '/' };
}

function parseId(text: string, field: string): number | undefined {
  if (!/^\d+$/.test(text)) return undefined;
  const id = Number(text);
  if (id > 2 ** 32 - 2) throw new SpecError(field, 'an id up to 4294967294', text);
  return id;
}

/**
 * What users of the host are called where a process is: by its /etc/passwd, else by number. Who has no id there has the one
 * that the kernel shows instead.
 *
 * @param options - `ownIds`: it is in a user namespace of its own; `root`: a descriptor of its root, if there is one
 */
export function userNamesAt(
  pid: number,
  { ownIds, root }: { ownIds: boolean; root: number | undefined },
): (hostUid: number) => string {
  const idInside = ownIds ? unlessHidden(() => IdMap.read(pid, 'uid')) : undefined;
  const passwd = (root === undefined ? undefined : readInRoot([`/proc/self/fd/${root}`], '/etc/passwd')) ?? '';
  // Of two with one id the first counts, as in getpwuid(3).
  const names = new Map(
    parsePasswd(passwd)
      .toReversed()
      .map(({ uid, name }) => [uid, name]),
  );
  return (hostUid) => {
    const uid = ownIds ? (idInside?.toContainer(hostUid) ?? OVERFLOW_UID) : hostUid;
    return names.get(uid) ?? String(uid);
  };
}

/** Of a process that has ended, or hides from this user, there is nothing to be read. */
function unlessHidden<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

const OVERFLOW_UID = 65534; // /proc/sys/kernel/overflowuid by default

function parsePasswd(text: string): PasswdEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name, , uid, gid, , home = ''] = line.split(':');
    return name && /^\d+$/.test(uid ?? '') && /^\d+$/.test(gid ?? '')
      ? [{ name, uid: Number(uid), gid: Number(gid), home }]
      : [];
  });
}

function parseGroup(text: string): GroupEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name, , gid, members = ''] = line.split(':');
    return name && /^\d+$/.test(gid ?? '') ? [{ name, gid: Number(gid), members: members.split(',') }] : [];
  });
}
