import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cgroup } from '@ns/cgroups';
import { holdBriefly, NsError, O, type OwnedFd, open, SpecError, SYS, syscall } from '@ns/libc';
import type { IdLease } from '@ns/namespaces';
import { containerDirectory } from './state-root.ts';
import type { ContainerSpec } from './types.ts';

const JOURNAL = 'journal';
/** More than all records of one run. */
const JOURNAL_BYTES = 4096;
const FALLOC_FL_KEEP_SIZE = 1; // <linux/falloc.h>

/** May it outlive the process that made it? */
export function isDetachable({ lifetime }: Pick<ContainerSpec, 'lifetime'>): boolean {
  return lifetime?.dieWithParent === false;
}

/**
 * A container that may outlive us can have nothing that needs us.
 *
 * @throws SpecError
 */
export function checkDetachable(spec: ContainerSpec): void {
  if (!isDetachable(spec)) return;
  const hint = 'With lifetime: { dieWithParent: false } nobody may be there to serve it';
  if (spec.stdin !== undefined && spec.stdin !== 'null') throw new SpecError('stdin', "'null'", spec.stdin, hint);
  if (spec.tty) throw new SpecError('tty', 'false', spec.tty, hint);
  if (spec.log?.format === 'json')
    throw new SpecError('log.format', "'raw'", 'json', `${hint}; logs() tells the times of raw output, too`);
  if (spec.onSyscall) throw new SpecError('onSyscall', 'nothing', spec.onSyscall, hint);
}

/** Why a container cannot be detached now. */
export function notDetachable(id: string, status: string): NsError {
  return new NsError(
    'ERR_NS_CONTAINER_NOT_DETACHABLE',
    `container ${id.slice(0, 12)} dies with the process that made it`,
    {
      hint: status === 'created' ? 'Start it first' : 'Create it with lifetime: { dieWithParent: false }',
    },
  );
}

/** The file in which monitor and init write that the program began, and how it ended. */
export function openJournal(id: string): OwnedFd {
  const path = join(containerDirectory(id), JOURNAL);
  const journal = open(path, O.WRONLY | O.APPEND | O.CREAT | O.TRUNC | O.NOFOLLOW, { mode: 0o600 });
  // The disk may be full by then. Not every file system can.
  syscall(SYS.fallocate, journal.fd, FALLOC_FL_KEEP_SIZE, 0, JOURNAL_BYTES);
  return journal;
}

/** Undefined for a container that has none: its maker alone hears how it ends. */
export function readJournal(directory: string): Buffer | undefined {
  try {
    return holdBriefly(() => readFileSync(join(directory, JOURNAL)));
  } catch {
    return undefined;
  }
}

/** What belongs to a container is owned by its monitor from now on, so that nobody clears it up when we are gone. */
export async function handOver(
  monitorPid: number,
  cgroups: readonly (Cgroup | undefined)[],
  ids: IdLease | undefined,
): Promise<void> {
  for (const cgroup of cgroups) cgroup?.setOwner(monitorPid);
  await ids?.transfer(monitorPid);
}
