import { readFileSync } from 'node:fs';
import { O, open, SpecError } from '@ns/libc';
import { CapabilitySet } from './capability-set.ts';

/** The five capability sets of a thread: capabilities(7). */
export interface ProcessCapabilities {
  /** What is checked now. */
  readonly effective: CapabilitySet;
  /** What may be made effective. */
  readonly permitted: CapabilitySet;
  /** What execve(2) may keep, together with the file's inheritable set. */
  readonly inheritable: CapabilitySet;
  /** What a file may grant at most. */
  readonly bounding: CapabilitySet;
  /** What execve(2) of a file without capabilities keeps. Since 4.3; empty before. */
  readonly ambient: CapabilitySet;
}

/**
 * The capability sets of a process: `CapInh` to `CapAmb` of `/proc/PID/status`. Needs no privilege, except that a
 * `/proc` mounted with `hidepid` hides other users' processes.
 *
 * @param pid - a process (its main thread), or `'self'`: the calling thread, the one that {@link setThreadCapabilities} changes
 * @throws SpecError for what is no pid
 * @throws SyscallError `ENOENT` when there is no such process, `ESRCH` when it ended meanwhile
 *
 * @example
 * ```ts
 * getProcessCapabilities('self').effective.has('CAP_SYS_ADMIN');
 * ```
 */
export function getProcessCapabilities(pid: number | 'self' = 'self'): ProcessCapabilities {
  if (pid !== 'self' && !(Number.isInteger(pid) && pid > 0)) throw new SpecError('pid', "a process id or 'self'", pid);
  // Capabilities belong to threads: in a worker /proc/self would show the main thread's.
  const path = pid === 'self' ? '/proc/thread-self/status' : `/proc/${pid}/status`;
  using file = open(path, O.RDONLY);
  return parseProcessStatus(readFileSync(file.fd, 'latin1'));
}

/**
 * The capability sets in the text of a `/proc/PID/status`.
 *
 * @throws SpecError when a set that every kernel shows is missing
 *
 * @example
 * ```ts
 * import { readFileSync } from 'node:fs';
 *
 * parseProcessStatus(readFileSync('/proc/1/status', 'latin1')).bounding.size;
 * ```
 */
export function parseProcessStatus(text: string): ProcessCapabilities {
  const line = (key: string) => new RegExp(`^${key}:\\s*([0-9a-f]+)$`, 'm').exec(text)?.[1];
  const required = (key: string) => {
    const digits = line(key);
    if (digits === undefined) throw new SpecError('status', `a line ${key}:`, text);
    return CapabilitySet.fromHex(digits);
  };
  return {
    effective: required('CapEff'),
    permitted: required('CapPrm'),
    inheritable: required('CapInh'),
    bounding: required('CapBnd'),
    ambient: CapabilitySet.fromHex(line('CapAmb') ?? '0'),
  };
}
