import { statFd } from '@ns/libc';
import type { Directories } from '../directories.ts';
import type { CgroupDirectory } from '../directory.ts';
import { parseFlatKeyed, parseNumber } from '../keyed-files.ts';
import { sumBelow } from '../walk.ts';

/** Processes and threads. */
export interface PidsStats {
  readonly current: number | undefined;
  /** Since 6.1. */
  readonly peak: number | undefined;
  readonly max: number | undefined;
  /**
   * Forks refused because of the limit, here and beneath. Before 6.11 and on v1 those in children that were removed are
   * not in it, and those that another cgroup's limit refused are.
   */
  readonly refused: number | undefined;
}

export function pidsStats(directories: Directories): PidsStats | undefined {
  const pids = directories.of('pids');
  if (!pids) return undefined;
  return {
    current: parseNumber(pids.readOften('pids.current')),
    peak: parseNumber(pids.readOften('pids.peak')),
    max: parseNumber(pids.readOften('pids.max')),
    refused: refusals(pids),
  };
}

/**
 * `pids.events`: since 6.11 the refusals by the limit of this cgroup and those beneath, as everywhere in v2. Before, and
 * on v1, those of the processes in this very cgroup, by whichever limit; a container's are in its children.
 */
function refusals(pids: CgroupDirectory): number | undefined {
  const own = maxOf(pids.readOften('pids.events'));
  // A directory has a link from each child: most have none.
  if (own === undefined || statFd(pids.fd).nlink <= 2 || pids.read('pids.events.local') !== undefined) return own;
  return own + sumBelow(pids.fd, 'pids.events', maxOf);
}

function maxOf(events: string | undefined): number | undefined {
  return parseFlatKeyed(events ?? '').get('max');
}
