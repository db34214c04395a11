import { readFileSync } from 'node:fs';
import { SpecError } from '@ns/libc';
import { compile, parseProfile, profiles, type SeccompFilter, type SeccompProfile, withNotify } from '@ns/seccomp';
import type { ContainerSpec } from './types.ts';

// Compiling takes milliseconds, and most containers of a program share profile and capabilities.
const compiled = new WeakMap<SeccompProfile, Map<string, SeccompFilter>>();

/**
 * The filter of a container, compiled once for each profile and set of capabilities.
 *
 * @param handled - system calls that a handler decides about
 * @returns undefined when unconfined
 */
export function chooseFilter(
  choice: ContainerSpec['seccomp'],
  capabilities: readonly string[],
  handled: readonly string[],
): SeccompFilter | undefined {
  if (choice === 'unconfined' && handled.length === 0) return undefined;
  const profile = toProfile(choice ?? 'default');
  if (handled.length > 0) return compile(withNotify(profile, handled), { capabilities });
  const perProfile = compiled.get(profile) ?? new Map<string, SeccompFilter>();
  compiled.set(profile, perProfile);
  const key = capabilities.join();
  const filter = perProfile.get(key) ?? compile(profile, { capabilities });
  perProfile.set(key, filter);
  return filter;
}

const keyCalls = [
  { syscall: 'add_key' },
  { syscall: 'request_key' },
  // Whatever the operation is.
  ...Array.from({ length: 64 }, (_, operation) => ({ syscall: 'keyctl', args: [operation] })),
];
const keysAllowed = new WeakMap<SeccompFilter, boolean>();

/** May a program under this filter use any key? */
export function allowsKeys(filter: SeccompFilter | undefined): boolean {
  if (!filter) return true;
  const known = keysAllowed.get(filter);
  if (known !== undefined) return known;
  const allowed = keyCalls.some((call) => !refusals.has(filter.evaluate(call).action));
  keysAllowed.set(filter, allowed);
  return allowed;
}

const refusals = new Set(['ERRNO', 'TRAP', 'KILL_THREAD', 'KILL_PROCESS']);

function toProfile(choice: string | SeccompProfile): SeccompProfile {
  if (typeof choice === 'object') return choice;
  if (choice === 'default' || choice === 'strict' || choice === 'unconfined') return profiles[choice];
  return parseProfile(readProfile(choice));
}

function readProfile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new SpecError('seccomp', `a profile that can be read (${(error as NodeJS.ErrnoException).code})`, path);
  }
}
