import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What this machine offers of SELinux. */
export interface SelinuxSupport {
  /** Whether a policy is loaded. */
  readonly available: boolean;
  /** Whether refusals are enforced or only logged. */
  readonly mode?: 'enforcing' | 'permissive';
  /** Why not, when it is not. */
  readonly why?: string;
  /** What would make it available. */
  readonly fix?: string;
}

/**
 * Looks at selinuxfs, /sys/fs/selinux, which is mounted where a policy is loaded. Needs no privileges.
 *
 * @param options.root - directory that stands for "/", to look at another system's /sys and /proc
 *
 * @example
 * ```ts
 * const { available, mode, why, fix } = selinuxSupport();
 * ```
 */
export function selinuxSupport(options: { readonly root?: string } = {}): SelinuxSupport {
  const read = (path: string) => readText(join(options.root ?? '/', path));
  const enforce = read('sys/fs/selinux/enforce');
  if (enforce !== undefined) return { available: true, mode: enforce.trim() === '1' ? 'enforcing' : 'permissive' };
  const active = read('proc/filesystems')?.includes('\tselinuxfs\n') ?? false;
  const reason = active
    ? { why: 'SELinux has no policy loaded, or selinuxfs is not mounted', fix: 'Mount selinuxfs at /sys/fs/selinux' }
    : {
        why: 'this kernel does not run SELinux',
        fix: 'Add security=selinux to the kernel command line, and install a policy',
      };
  return { available: false, ...reason };
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Not there, or hidden from this process: either way nothing of it can be used.
    return undefined;
  }
}
