import { gunzipSync } from 'node:zlib';
import { SyscallError } from '@ns/libc';
import { apparmorPolicy } from '../generated/apparmor-policy.ts';
import { readSecurityFile, writeSecurityFile } from '../securityfs.ts';
import { builtInProfileText } from './default-profile.ts';
import { appArmorConfinement } from './exec-label.ts';
import { parseLoadedProfiles } from './policy.ts';
import { type AppArmorSupport, appArmorSupport } from './support.ts';

/** A profile that comes with this package, compiled. */
export interface BuiltInAppArmorProfile {
  /** With a hash of its text, so that two versions of this package do not take each other's away. */
  readonly name: string;
  /** For reading; the same as `defaultAppArmorProfile` makes. */
  readonly text: string;
  /** The binary form that the kernel takes, for `loadAppArmorProfile`. */
  readonly policy: Uint8Array;
}

/**
 * The profile with the meaning of Docker's `docker-default`. Loading it takes no apparmor_parser.
 *
 * Touches nothing.
 *
 * @example
 * ```ts
 * const { name, policy } = builtInAppArmorProfile();
 * await loadAppArmorProfile(policy);
 * const label = appArmorExecLabel(name);
 * ```
 */
export function builtInAppArmorProfile(): BuiltInAppArmorProfile {
  const { name, gzipBase64 } = apparmorPolicy;
  return { name, text: builtInProfileText(name), policy: gunzipSync(Buffer.from(gzipBase64, 'base64')) };
}

/** Whether programs can be run under {@link builtInAppArmorProfile}. */
export type BuiltInProfileState =
  | { readonly usable: true; readonly profile: string }
  | {
      readonly usable: false;
      /** The kernel has AppArmor, so it is a loss. */
      readonly expected: boolean;
      readonly why: string;
      readonly fix: string | undefined;
    };

// Enabled at boot or never.
let support: AppArmorSupport | undefined;
const KNOWN_MS = 1000;
let loaded: { readonly since: number } | undefined;

/**
 * Makes sure that the built-in profile is in the kernel. Any number of processes may do so at once: the kernel takes a
 * policy it has already for what it is. A profile that somebody removes, `aa-remove-unknown` for instance, is back at the
 * first call a second later.
 *
 * Loading takes CAP_MAC_ADMIN in the initial user namespace; nothing is thrown for want of it.
 *
 * @example
 * ```ts
 * const state = ensureBuiltInAppArmorProfile();
 * const label = state.usable ? appArmorExecLabel(state.profile) : undefined;
 * ```
 */
export function ensureBuiltInAppArmorProfile(): BuiltInProfileState {
  support ??= appArmorSupport();
  if (!support.available) return { usable: false, expected: false, why: support.why ?? 'it is off', fix: support.fix };
  const { name } = apparmorPolicy;
  if (loaded && performance.now() - loaded.since < KNOWN_MS) return { usable: true, profile: name };
  const own = appArmorConfinement();
  if (own?.mode !== undefined && own.mode !== 'unconfined') {
    // Under no_new_privs the kernel allows a program narrower profiles only, and which those are we cannot know.
    return {
      usable: false,
      expected: true,
      why: `this process runs under the profile ${own.profile} itself`,
      fix: 'Name a profile that it may change to',
    };
  }
  try {
    if (!isLoaded(name)) writeSecurityFile('apparmor/.replace', builtInAppArmorProfile().policy);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return {
      usable: false,
      expected: true,
      why: `the profile could not be loaded (${error.code})`,
      fix: 'Loading needs root with CAP_MAC_ADMIN in the initial user namespace',
    };
  }
  loaded = { since: performance.now() };
  return { usable: true, profile: name };
}

function isLoaded(name: string): boolean {
  return parseLoadedProfiles(readSecurityFile('apparmor/profiles') ?? '').some((profile) => profile.name === name);
}
