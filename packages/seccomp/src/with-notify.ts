import { SpecError } from '@ns/libc';
import type { SeccompProfile } from './profile.ts';

/**
 * A profile under which the named calls are put to a handler, whatever the profile says about them otherwise.
 *
 * The process that installs the filter must be able to hand over the listener: `sendmsg`, `write` and `close` had better not be
 * named when it sends the descriptor itself, as `@ns/launch` does.
 *
 * @throws SpecError when there is no profile or no name
 *
 * @example
 * ```ts
 * const filter = compile(withNotify(profiles.default, ['mkdirat']));
 * filter.notifies; // true: it needs a listener
 * ```
 */
export function withNotify(profile: SeccompProfile, names: readonly string[]): SeccompProfile {
  if (typeof profile !== 'object' || profile === null) throw new SpecError('seccomp', 'an object', profile);
  const { syscalls = [] } = profile;
  if (!Array.isArray(syscalls)) throw new SpecError('seccomp.syscalls', 'an array of rules', syscalls);
  if (!Array.isArray(names) || names.length === 0)
    throw new SpecError('names', 'a list of at least one system call', names);
  // The first rule without conditions decides alone.
  return { ...profile, syscalls: [{ names, action: 'SCMP_ACT_NOTIFY' }, ...syscalls] };
}
