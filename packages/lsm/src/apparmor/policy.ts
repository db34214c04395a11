import { NsError, SyscallError, UnavailableError, withDescriptorsForChild } from '@ns/libc';
import { requireModule } from '../require-module.ts';
import { readSecurityFile, writeSecurityFile } from '../securityfs.ts';
import { checkProfileName } from './profile-name.ts';
import { appArmorSupport } from './support.ts';

const installParser = 'Install the package apparmor, which has apparmor_parser';

/**
 * A profile's text that apparmor_parser(8) refused. Code `ERR_NS_APPARMOR_PROFILE`.
 *
 * @example
 * ```ts
 * await compileAppArmorProfile('profile x {').catch((error) => {
 *   if (error instanceof AppArmorProfileError) console.error(error.output);
 * });
 * ```
 */
export class AppArmorProfileError extends NsError {
  /** What the parser said. */
  readonly output: string;

  constructor(output: string, cause: unknown) {
    super('ERR_NS_APPARMOR_PROFILE', `apparmor_parser refused the profile: ${output.split('\n')[0]}`, {
      hint: 'The output names the line; a rule or an abi that it does not know needs a newer apparmor_parser',
      cause,
    });
    this.output = output;
  }
}

/**
 * Compiles the text of profiles to the binary form that the kernel takes, with apparmor_parser(8). Needs no privileges.
 *
 * @param options.features - file that describes the kernel to compile for; default: the running one
 * @throws AppArmorProfileError when the text is wrong
 * @throws UnavailableError when there is no apparmor_parser
 *
 * @example
 * ```ts
 * const policy = await compileAppArmorProfile(defaultAppArmorProfile({ name: 'jobs' }));
 * ```
 */
export async function compileAppArmorProfile(
  text: string,
  options: { readonly features?: string } = {},
): Promise<Uint8Array> {
  // Loading execa takes longer than most programs need it.
  const { execa } = await import('execa');
  const features = options.features === undefined ? [] : ['--kernel-features', options.features];
  const result = await withDescriptorsForChild(() =>
    execa('apparmor_parser', ['--skip-kernel-load', '--skip-cache', '--stdout', ...features], {
      input: text,
      encoding: 'buffer',
      reject: false,
      cwd: '/',
      env: { PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` },
    }),
  );
  if (result.exitCode === 0) return result.stdout;
  if (result.exitCode === undefined)
    throw new UnavailableError('compiling AppArmor profiles', 'apparmor_parser was not found', installParser);
  throw new AppArmorProfileError(Buffer.from(result.stderr).toString().trim(), result);
}

/**
 * Loads profiles into the kernel, in place of those of the same names: `apparmor/.replace` of securityfs. Processes that
 * already run under one of them are under the new one from then on.
 *
 * @param profile - text, which is compiled first, or the result of {@link compileAppArmorProfile}
 * @throws UnavailableError when the kernel has no AppArmor
 * @throws SyscallError `EPERM` or `EACCES` without CAP_MAC_ADMIN and CAP_SYS_ADMIN
 *
 * @example
 * ```ts
 * await loadAppArmorProfile(defaultAppArmorProfile({ name: 'jobs' }));
 * ```
 */
export async function loadAppArmorProfile(profile: string | Uint8Array): Promise<void> {
  requireAppArmor();
  const binary = typeof profile === 'string' ? await compileAppArmorProfile(profile) : profile;
  writeSecurityFile('apparmor/.replace', binary);
}

/**
 * Removes a profile from the kernel: `apparmor/.remove` of securityfs. Processes under it are unconfined from then on.
 *
 * @returns false when there was none of that name
 * @throws UnavailableError when the kernel has no AppArmor
 * @throws SpecError for a name that cannot be one
 * @throws SyscallError `EPERM` or `EACCES` without CAP_MAC_ADMIN and CAP_SYS_ADMIN
 *
 * @example
 * ```ts
 * removeAppArmorProfile('jobs'); // false when there was none
 * ```
 */
export function removeAppArmorProfile(name: string): boolean {
  checkProfileName(name, 'name');
  requireAppArmor();
  try {
    writeSecurityFile('apparmor/.remove', Buffer.from(name));
    return true;
  } catch (error) {
    if (error instanceof SyscallError && error.code === 'ENOENT') return false;
    throw error;
  }
}

/** A profile that the kernel has. */
export interface LoadedProfile {
  /** As the profile has it; `outer//child` for one within another. */
  readonly name: string;
  /** `enforce`, `complain`, `kill`, `unconfined`, … */
  readonly mode: string;
}

/**
 * The profiles that the kernel has: `apparmor/profiles` of securityfs. Needs root.
 *
 * @throws UnavailableError when the kernel has no AppArmor or does not show them to this process
 *
 * @example
 * ```ts
 * listAppArmorProfiles().some(({ name, mode }) => name === 'jobs' && mode === 'enforce');
 * ```
 */
export function listAppArmorProfiles(): LoadedProfile[] {
  requireAppArmor();
  const text = readSecurityFile('apparmor/profiles');
  if (text === undefined)
    throw new UnavailableError('the list of AppArmor profiles', 'securityfs may not be read', 'It needs root');
  return parseLoadedProfiles(text);
}

/** Reads lines such as `docker-default (enforce)`; names may have spaces and parentheses. */
export function parseLoadedProfiles(text: string): LoadedProfile[] {
  return text
    .split('\n')
    .map((line) => /^(.+) \((.+)\)$/.exec(line))
    .filter((match) => match !== null)
    .map(([, name, mode]) => ({ name: name!, mode: mode! }));
}

function requireAppArmor(): void {
  requireModule('AppArmor', appArmorSupport());
}
