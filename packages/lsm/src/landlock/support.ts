import { check, errnoName, SYS, syscall } from '@ns/libc';

const LANDLOCK_CREATE_RULESET_VERSION = 1;
const LANDLOCK_CREATE_RULESET_ERRATA = 2;

/** What the running kernel offers of Landlock. */
export interface LandlockSupport {
  /** The ABI version; 0 when there is no Landlock. */
  readonly abi: number;
  /** Numbers of the fixed errata ("Landlock errata" in the kernel's documentation); empty on kernels that cannot tell. */
  readonly fixedErrata: readonly number[];
  /** Why there is none, when there is none. */
  readonly why?: string;
  /** What would make it available. */
  readonly fix?: string;
}

const reasons: Readonly<Record<string, Required<Pick<LandlockSupport, 'why' | 'fix'>>>> = {
  ENOSYS: {
    why: 'this kernel has no Landlock',
    fix: 'It needs Linux 5.13 or later, built with CONFIG_SECURITY_LANDLOCK',
  },
  EOPNOTSUPP: {
    why: 'Landlock was not enabled when the kernel was started',
    fix: 'Add landlock to the lsm= list of the kernel command line',
  },
  EPERM: {
    why: 'a seccomp filter of this process refuses landlock_create_ruleset',
    fix: 'Allow the landlock_* system calls in the profile of the container that this process runs in',
  },
};

/**
 * What the kernel offers: landlock_create_ruleset(2) with LANDLOCK_CREATE_RULESET_VERSION and _ERRATA. Needs no
 * privileges, costs a microsecond.
 *
 * @example
 * ```ts
 * const { abi, why, fix } = landlockSupport();
 * if (abi === 0) console.warn(`${why}. ${fix}`);
 * ```
 */
export function landlockSupport(): LandlockSupport {
  const version = syscall(SYS.landlock_create_ruleset, 0, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 0) {
    const reason = reasons[errnoName(version)];
    if (!reason) check('landlock_create_ruleset', version);
    return { abi: 0, fixedErrata: [], ...reason };
  }
  // Since 6.15; EINVAL before.
  const errata = Math.max(0, syscall(SYS.landlock_create_ruleset, 0, 0, LANDLOCK_CREATE_RULESET_ERRATA));
  const fixedErrata = Array.from({ length: 31 }, (_, index) => index + 1).filter(
    (number) => errata & (1 << (number - 1)),
  );
  return { abi: version, fixedErrata };
}
