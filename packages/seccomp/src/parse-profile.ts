import { SpecError } from '@ns/libc';
import type { SeccompProfile } from './profile.ts';

// Docker's whole profile has 14 KB.
const MAX_PROFILE_BYTES = 4 << 20;

/**
 * Reads a profile's JSON without losing the lower digits of 64-bit values, which `JSON.parse` rounds above 2^53.
 * Nothing else is checked here: {@link compile} does that.
 *
 * @throws SpecError when the text is not JSON, or larger than 4 MiB
 *
 * @example
 * ```ts
 * import { readFileSync } from 'node:fs';
 *
 * const filter = compile(parseProfile(readFileSync('/etc/docker/seccomp.json', 'utf8')));
 * ```
 */
export function parseProfile(json: string): SeccompProfile {
  if (typeof json !== 'string') {
    throw new SpecError('seccomp', 'the text of a profile', json, 'An object needs no parsing: give it to compile');
  }
  if (json.length > MAX_PROFILE_BYTES)
    throw new SpecError('seccomp', `at most ${MAX_PROFILE_BYTES} bytes of JSON`, json.length);
  try {
    // Strings are matched first so that digits inside them stay as they are.
    const exact = json.replace(/"(?:[^"\\]|\\.)*"|(?<![\d.eE+-])\d{16,}(?![\d.eE])/g, (token) =>
      token.startsWith('"') ? token : `"${token}"`,
    );
    return JSON.parse(exact) as SeccompProfile;
  } catch (error) {
    throw new SpecError(
      'seccomp',
      `a profile in JSON (${error instanceof Error ? error.message : 'unreadable'})`,
      json,
    );
  }
}
