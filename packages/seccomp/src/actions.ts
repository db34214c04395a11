import { ERRNO, errnoName, SpecError } from '@ns/libc';
import { didYouMean } from './did-you-mean.ts';

/** Return values of a filter, `<linux/seccomp.h>`: the action in the upper half, its data in the lower. */
export const SECCOMP_RET = {
  KILL_PROCESS: 0x80000000, // since 4.14
  KILL_THREAD: 0x00000000,
  TRAP: 0x00030000,
  ERRNO: 0x00050000,
  USER_NOTIF: 0x7fc00000, // since 5.0
  TRACE: 0x7ff00000,
  LOG: 0x7ffc0000, // since 4.14
  ALLOW: 0x7fff0000,
} as const;

// KILL kills the thread: libseccomp's and the runtime specification's meaning.
const byScmpName = new Map<string, number>([
  ['SCMP_ACT_KILL', SECCOMP_RET.KILL_THREAD],
  ['SCMP_ACT_KILL_THREAD', SECCOMP_RET.KILL_THREAD],
  ['SCMP_ACT_KILL_PROCESS', SECCOMP_RET.KILL_PROCESS],
  ['SCMP_ACT_TRAP', SECCOMP_RET.TRAP],
  ['SCMP_ACT_ERRNO', SECCOMP_RET.ERRNO],
  ['SCMP_ACT_TRACE', SECCOMP_RET.TRACE],
  ['SCMP_ACT_ALLOW', SECCOMP_RET.ALLOW],
  ['SCMP_ACT_LOG', SECCOMP_RET.LOG],
  ['SCMP_ACT_NOTIFY', SECCOMP_RET.USER_NOTIF],
]);

/** A profile's action. */
export type ScmpAction =
  | 'SCMP_ACT_KILL'
  | 'SCMP_ACT_KILL_THREAD'
  | 'SCMP_ACT_KILL_PROCESS'
  | 'SCMP_ACT_TRAP'
  | 'SCMP_ACT_ERRNO'
  | 'SCMP_ACT_TRACE'
  | 'SCMP_ACT_ALLOW'
  | 'SCMP_ACT_LOG'
  | 'SCMP_ACT_NOTIFY';

/** What a filter decides about a system call. */
export type Decision =
  | { readonly action: 'ALLOW' | 'LOG' | 'TRAP' | 'NOTIFY' | 'KILL_THREAD' | 'KILL_PROCESS' }
  /** The call fails with this errno without being run (`'E0'` for 0: it returns 0). */
  | { readonly action: 'ERRNO'; readonly errno: string }
  /** A tracer decides; it sees `data` as its event message. Without a tracer the call fails with ENOSYS. */
  | { readonly action: 'TRACE'; readonly data: number };

/** The filter return value of an action of a profile. `errnoRet` counts for ERRNO and TRACE only, and is EPERM by default. */
export function actionValue(action: unknown, errnoRet: unknown, field: string, errnoField: string): number {
  const value = byScmpName.get(action as string);
  if (value === undefined) {
    const names = [...byScmpName.keys()];
    throw new SpecError(field, `one of ${names.join(', ')}`, action, didYouMean(action, 'SCMP_ACT_', names));
  }
  if (value !== SECCOMP_RET.ERRNO && value !== SECCOMP_RET.TRACE) return value;
  if (errnoRet === undefined || errnoRet === null) return value | ERRNO.EPERM;
  // The kernel cuts an errno off at MAX_ERRNO, TRACE's data at 16 bits.
  const most = value === SECCOMP_RET.ERRNO ? 4095 : 65535;
  if (typeof errnoRet !== 'number' || !Number.isInteger(errnoRet) || errnoRet < 0 || errnoRet > most) {
    throw new SpecError(errnoField, `a whole number from 0 to ${most}`, errnoRet);
  }
  return value | errnoRet;
}

/** A filter's return value in words. What the kernel does not know it treats as KILL_PROCESS. */
export function decisionOf(value: number): Decision {
  const data = value & 0xffff;
  switch ((value & 0xffff0000) >>> 0) {
    case SECCOMP_RET.ALLOW:
      return { action: 'ALLOW' };
    case SECCOMP_RET.ERRNO:
      return { action: 'ERRNO', errno: errnoName(Math.min(data, 4095)) };
    case SECCOMP_RET.LOG:
      return { action: 'LOG' };
    case SECCOMP_RET.TRACE:
      return { action: 'TRACE', data };
    case SECCOMP_RET.USER_NOTIF:
      return { action: 'NOTIFY' };
    case SECCOMP_RET.TRAP:
      return { action: 'TRAP' };
    case SECCOMP_RET.KILL_THREAD:
      return { action: 'KILL_THREAD' };
    default:
      return { action: 'KILL_PROCESS' };
  }
}
