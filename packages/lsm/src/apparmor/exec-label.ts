import { existsSync, readFileSync } from 'node:fs';
import { NsError, UnavailableError } from '@ns/libc';
import type { ExecLabel } from '../exec-label.ts';
import { requireModule } from '../require-module.ts';
import { checkProfileName } from './profile-name.ts';
import { appArmorSupport } from './support.ts';

/**
 * What a process writes to run the next program under a profile (aa_change_onexec(3)). The profile must be loaded;
 * otherwise the write fails with ENOENT. `unconfined` is a profile, too.
 *
 * With no_new_privs set, a process that has a profile may only go to a narrower one: then use `stack`. One without may go
 * to any (since 4.17).
 *
 * @param options.mode - `'change'` (default) leaves the current profile, `'stack'` adds to it: both must allow
 * @throws SpecError for a name that cannot be one
 * @throws UnavailableError when the kernel has no AppArmor
 *
 * @example
 * ```ts
 * spawnRestricted('id', [], { landlock: { files: { execute: ['/'] } }, label: appArmorExecLabel('jobs') });
 * ```
 */
export function appArmorExecLabel(profile: string, options: { readonly mode?: 'change' | 'stack' } = {}): ExecLabel {
  return { file: attributeFile('exec', profile), label: `${options.mode === 'stack' ? 'stack' : 'exec'} ${profile}` };
}

/**
 * What a process writes to be under a profile from now on (aa_change_profile(3)), without executing anything: for one
 * that stays what it is, such as the first process of a container. The profile then decides what it may execute. Since
 * 2.6.36. Needs no privilege, but a profile that allows the change, or none.
 *
 * @throws SpecError for a name that cannot be one
 * @throws UnavailableError when the kernel has no AppArmor
 *
 * @example
 * ```ts
 * const step = { op: 'execLabel', ...appArmorProcessLabel('jobs') };
 * ```
 */
export function appArmorProcessLabel(profile: string): ExecLabel {
  return { file: attributeFile('current', profile), label: `changeprofile ${profile}` };
}

function attributeFile(name: 'exec' | 'current', profile: string): string {
  checkProfileName(profile, 'apparmor');
  requireModule('AppArmor', appArmorSupport());
  // Since 5.8 each module has a directory of its own; before, and still, the first one answers in attr/ itself.
  const file = [`/proc/thread-self/attr/apparmor/${name}`, `/proc/thread-self/attr/${name}`].find((path) =>
    existsSync(path),
  );
  if (!file) throw new UnavailableError('AppArmor', `procfs has no attr/${name}`, 'Mount procfs at /proc');
  return file;
}

/** The profile a process runs under. */
export interface AppArmorConfinement {
  /** Name of the profile; `unconfined` without one. */
  readonly profile: string;
  /** `enforce`, `complain`, …; `undefined` without a profile. */
  readonly mode: string | undefined;
}

/**
 * The profile of a process: `/proc/PID/attr/apparmor/current`.
 *
 * @param pid - default: this process
 * @returns `undefined` when the kernel has no AppArmor
 * @throws NsError `ERR_NS_NO_PROCESS` when there is no such process
 *
 * @example
 * ```ts
 * appArmorConfinement(pid)?.mode === 'enforce';
 * ```
 */
export function appArmorConfinement(pid: number | 'self' = 'self'): AppArmorConfinement | undefined {
  if (!appArmorSupport().available) return undefined;
  for (const file of ['attr/apparmor/current', 'attr/current']) {
    try {
      return parseConfinement(readFileSync(`/proc/${pid}/${file}`, 'utf8'));
    } catch {
      // The first file is since 5.8; both are gone with the process.
    }
  }
  throw new NsError('ERR_NS_NO_PROCESS', `process ${pid} does not exist`, {
    hint: 'Likely it has ended; a pid is that of this pid namespace, and of the /proc that is mounted here',
  });
}

/** Reads `docker-default (enforce)` or `unconfined`, as the kernel writes them. */
export function parseConfinement(text: string): AppArmorConfinement {
  const [, profile, mode] = /^(.+?)(?: \((\w+)\))?[\n\0]*$/.exec(text) ?? [];
  return { profile: profile ?? 'unconfined', mode };
}
