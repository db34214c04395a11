import { execFile } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { userInfo } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { readFileCapabilities } from '@ns/capabilities';
import { hasCode } from '@ns/libc';
import { rangesOf, readSubordinateIds, type SubordinateRange } from '@ns/namespaces';
import { Lacking, type Trial, type Trials } from './capability.ts';

/** Programs that some features need, and files that grant ids. */
export type ProgramFeature = 'newuidmap' | 'subordinateIds' | 'fuseOverlayfs' | 'pasta' | 'slirp4netns' | 'criu';

/** It tries the whole kernel: some tens of milliseconds, but seconds where that is emulated. */
const CRIU_CHECK_MS = 60_000;

export const programTrials: Trials<ProgramFeature> = {
  newuidmap() {
    const programs = ['newuidmap', 'newgidmap'].map((name) => installed(name, 'uidmap'));
    for (const program of programs) requirePrivilege(program);
    return programs.join(', ');
  },
  subordinateIds() {
    const kinds = ['uid', 'gid'] as const;
    const all = { uid: readSubordinateIds('uid'), gid: readSubordinateIds('gid') };
    const total = (ids: 'uid' | 'gid') => rangesOf(all[ids]).reduce((sum, { size }) => sum + size, 0);
    const lacking = kinds.filter((ids) => total(ids) === 0);
    if (lacking.length === 0) return kinds.map((ids) => `${total(ids)} ${ids}s`).join(', ');
    const uid = process.geteuid!();
    const username = usernameOf();
    throw new Lacking(
      `${lacking.map((ids) => `/etc/sub${ids}`).join(' and ')} ${lacking.length === 1 ? 'grants' : 'grant'} ${username ?? `user ${uid}`} no ids`,
      uid === 0
        ? 'Not needed by root, who may map any'
        : adviseRange(lacking, username ?? uid, firstUngranted([...all.uid, ...all.gid])),
    );
  },
  fuseOverlayfs: program('fuse-overlayfs', 'fuse-overlayfs'),
  pasta: program('pasta', 'passt'),
  slirp4netns: program('slirp4netns', 'slirp4netns'),
  async criu() {
    const path = installed('criu', 'criu');
    if (process.geteuid!() !== 0) throw new Lacking('CRIU writes processes down as root only', 'Run as root');
    try {
      await promisify(execFile)(path, ['check'], { timeout: CRIU_CHECK_MS });
    } catch (error) {
      const { stdout = '', stderr = '', killed } = error as { stdout?: string; stderr?: string; killed?: boolean };
      if (killed)
        throw new Lacking(
          `criu check has not ended after ${CRIU_CHECK_MS / 1000} s`,
          'Try again when there is less load',
        );
      const said = `${stdout}${stderr}`.trim().split('\n').at(-1);
      throw new Lacking(`criu check: ${said}`, 'Run `criu check --all` as root: it names what the kernel lacks');
    }
    return path;
  },
};

/** Where a program is, looked for in PATH and where administrators' programs are. */
export function findProgram(name: string): string | undefined {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return directories
    .filter((directory) => directory.startsWith('/'))
    .map((directory) => join(directory, name))
    .find(isExecutable);
}

/** How many ids a user is usually granted. */
const RANGE_SIZE = 65_536;

/** The first id from which on nobody has any: who shares ids with another user has power over what is the other's. */
export function firstUngranted(granted: readonly Pick<SubordinateRange, 'start' | 'size'>[]): number {
  let first = 100_000;
  for (const { start, size } of granted.toSorted((a, b) => a.start - b.start))
    if (start < first + RANGE_SIZE) first = Math.max(first, start + size);
  return first;
}

/** usermod(8) takes names only. */
function adviseRange(lacking: readonly ('uid' | 'gid')[], user: string | number, first: number): string {
  if (typeof user === 'number')
    return `As root: echo ${user}:${first}:${RANGE_SIZE} | tee -a ${lacking.map((ids) => `/etc/sub${ids}`).join(' ')}`;
  const range = `${first}-${first + RANGE_SIZE - 1}`;
  return `As root: usermod ${lacking.map((ids) => `--add-sub${ids}s ${range}`).join(' ')} ${user}`;
}

/** Of this user; undefined where no entry of /etc/passwd has his id. */
function usernameOf(): string | undefined {
  try {
    return userInfo().username;
  } catch (error) {
    if (hasCode(error, 'ERR_SYSTEM_ERROR')) return undefined;
    throw error;
  }
}

function program(name: string, package_: string): Trial {
  return () => installed(name, package_);
}

function installed(name: string, package_: string): string {
  const found = findProgram(name);
  if (found !== undefined) return found;
  throw new Lacking(`there is no program ${name}`, `Install the package ${package_}`);
}

/** These helpers act for an ordinary user with privileges that their file gives them. */
function requirePrivilege(path: string): void {
  if (statSync(path).mode & S_ISUID || readFileCapabilities(path) !== undefined) return;
  throw new Lacking(`${path} has no privileges`, `As root: chmod u+s ${path}`);
}

const S_ISUID = 0o4000; // <linux/stat.h>

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
