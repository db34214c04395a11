import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What this machine offers of AppArmor. */
export interface AppArmorSupport {
  /** Whether the kernel has it enabled. */
  readonly available: boolean;
  /** Why not, when it is not. */
  readonly why?: string;
  /** What would make it available. */
  readonly fix?: string;
  /**
   * Ordinary users may make user namespaces only under a profile that allows it: the default of Ubuntu 23.10 and later,
   * which breaks rootless containers and sandboxes. `userNamespaceProfile` is the way out.
   */
  readonly restrictsUserNamespaces: boolean;
}

/**
 * Looks at /sys/module/apparmor/parameters/enabled and sysctl kernel.apparmor_restrict_unprivileged_userns. Needs no
 * privileges.
 *
 * @param options.root - directory that stands for "/", to look at another system's /sys and /proc
 *
 * @example
 * ```ts
 * const { available, why, fix, restrictsUserNamespaces } = appArmorSupport();
 * ```
 */
export function appArmorSupport(options: { readonly root?: string } = {}): AppArmorSupport {
  const read = (path: string) => readSetting(join(options.root ?? '/', path));
  const enabled = read('sys/module/apparmor/parameters/enabled');
  const restrictsUserNamespaces = read('proc/sys/kernel/apparmor_restrict_unprivileged_userns') === '1';
  if (enabled === 'Y') return { available: true, restrictsUserNamespaces };
  const reason =
    enabled === undefined
      ? { why: 'this kernel has no AppArmor', fix: 'It needs a kernel built with CONFIG_SECURITY_APPARMOR' }
      : {
          why: 'AppArmor was not enabled when the kernel was started',
          fix: 'Add apparmor=1 security=apparmor to the kernel command line',
        };
  return { available: false, restrictsUserNamespaces: false, ...reason };
}

function readSetting(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    // Not there, or hidden from this process: either way nothing of it can be used.
    return undefined;
  }
}
