import { onlyKnownKeys, SpecError } from '@ns/libc';
import type { MissingPolicy } from './apply-limits.ts';
import { type Controller, isController } from './host.ts';

/* What a caller says besides limits: a misspelt `mising: 'warn'` is no wish that may be passed over. */

/** The longest a timer of Node waits; it fires at once for more. */
const maxTimeoutMs = 2 ** 31 - 1;

/** The only option of what waits. */
export function parseTimeout(options: unknown): number | undefined {
  onlyKnownKeys(options, ['timeoutMs'], '');
  const { timeoutMs } = options;
  if (timeoutMs === undefined) return undefined;
  if (typeof timeoutMs === 'number' && timeoutMs >= 0 && timeoutMs <= maxTimeoutMs) return timeoutMs;
  throw new SpecError('timeoutMs', `a number of milliseconds from 0 to ${maxTimeoutMs}`, timeoutMs);
}

/** What to do about a limit this machine cannot set; an error by default. */
export function parseMissing(missing: unknown = 'error'): MissingPolicy {
  if (missing === 'error' || missing === 'warn') return missing;
  throw new SpecError('missing', "'error' or 'warn'", missing);
}

/** Controllers to count with; none by default. */
export function parseAccount(account: unknown = []): readonly Controller[] {
  if (!Array.isArray(account)) throw new SpecError('account', 'an array of controllers', account);
  for (const [index, name] of account.entries())
    if (!isController(name)) throw new SpecError(`account[${index}]`, "a controller such as 'memory' or 'io'", name);
  return account;
}
