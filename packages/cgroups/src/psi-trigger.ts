import { readFileSync } from 'node:fs';
import {
  check,
  ERRNO,
  hasCode,
  O,
  onlyKnownKeys,
  ResourceStack,
  SpecError,
  SyscallError,
  UnavailableError,
} from '@ns/libc';
import { integer } from './change.ts';
import { openControlFile, writeOnce } from './control-file.ts';
import type { CgroupDirectory } from './directory.ts';
import { watchPriority } from './priority-poll.ts';
import type { FileWatch } from './watch-file.ts';

/** "Tell me when processes lost `stallMs` waiting for the resource within `windowMs`." */
export interface PressureTrigger {
  readonly resource: 'cpu' | 'memory' | 'io';
  /** `some`: at least one process waited (default); `full`: all of them at once. */
  readonly kind?: 'some' | 'full';
  /** More than 0, at most the window. */
  readonly stallMs: number;
  /** 500 to 10,000. Without CAP_SYS_RESOURCE the kernel takes multiples of 2,000 only, and this is rounded up. */
  readonly windowMs: number;
}

/** Checks a trigger and fills in what it leaves out. */
export function parsePressureTrigger(trigger: unknown, field: string): Required<PressureTrigger> {
  onlyKnownKeys(trigger, ['resource', 'kind', 'stallMs', 'windowMs'], field);
  const { resource, kind = 'some' } = trigger;
  if (resource !== 'cpu' && resource !== 'memory' && resource !== 'io') {
    throw new SpecError(`${field}.resource`, "'cpu', 'memory' or 'io'", resource);
  }
  if (kind !== 'some' && kind !== 'full') throw new SpecError(`${field}.kind`, "'some' or 'full'", kind);
  const windowMs = integer(500, 10_000)(trigger.windowMs, `${field}.windowMs`);
  return { resource, kind, stallMs: integer(1, windowMs)(trigger.stallMs, `${field}.stallMs`), windowMs };
}

/** What the kernel grants a window of without CAP_SYS_RESOURCE (since 6.4). */
const unprivilegedWindowMs = 2_000;

/**
 * Arms a trigger on a pressure file of a v2 directory. The kernel calls back at most once per window.
 *
 * @param onPressure - gets the trigger as it was granted
 * @returns to be disposed; the trigger lives as long as its descriptor
 * @throws UnavailableError when PSI is not compiled in or switched off
 */
export function watchPressure(
  directory: CgroupDirectory,
  trigger: Required<PressureTrigger>,
  onPressure: (granted: Required<PressureTrigger>) => void,
): FileWatch {
  const file = `${trigger.resource}.pressure`;
  const opened = openControlFile(directory.fd, file, O.RDWR | O.NONBLOCK);
  if (typeof opened === 'number') throw noPressure(opened, file);
  using rollback = new ResourceStack();
  rollback.use(opened);
  const arm = (wanted: Required<PressureTrigger>): number =>
    writeOnce(opened.fd, `${wanted.kind} ${wanted.stallMs * 1_000} ${wanted.windowMs * 1_000}\0`);
  let granted = trigger;
  let result = arm(granted);
  if (result === -ERRNO.EINVAL) {
    granted = { ...trigger, windowMs: Math.ceil(trigger.windowMs / unprivilegedWindowMs) * unprivilegedWindowMs };
    result = arm(granted);
  }
  if (result === -ERRNO.EOPNOTSUPP) throw noPressure(result, file);
  check('write', result, { path: `${directory.path}/${file}` });
  const watch = watchPriority(opened.fd, () => {
    // Removed cgroups wake with POLLERR for good.
    if (directory.gone) watch.close();
    else onPressure(granted);
  });
  rollback.release();
  return {
    ref: () => watch.ref(),
    unref: () => watch.unref(),
    [Symbol.dispose]: () => {
      watch.close();
      opened.close();
    },
  };
}

function noPressure(result: number, file: string): Error {
  if (result !== -ERRNO.ENOENT && result !== -ERRNO.EOPNOTSUPP)
    return new SyscallError('openat', result, { path: file });
  const [why, fix] = isCompiledIn()
    ? ['it is compiled in but switched off', 'Boot with psi=1']
    : ['the kernel was built without CONFIG_PSI', 'Needs Linux 4.20 with CONFIG_PSI'];
  return new UnavailableError('pressure stall information', why, fix);
}

/** With PSI off by default (CONFIG_PSI_DEFAULT_DISABLED) the files of /proc/pressure exist and answer EOPNOTSUPP. */
function isCompiledIn(): boolean {
  try {
    readFileSync('/proc/pressure/memory');
    return true;
  } catch (error) {
    return hasCode(error, 'EOPNOTSUPP');
  }
}
