import type { ScmpAction } from './actions.ts';

/** How an argument is compared. `MASKED_EQ` is `(argument & value) === valueTwo`. */
export type ScmpOperator =
  | 'SCMP_CMP_NE'
  | 'SCMP_CMP_LT'
  | 'SCMP_CMP_LE'
  | 'SCMP_CMP_EQ'
  | 'SCMP_CMP_GE'
  | 'SCMP_CMP_GT'
  | 'SCMP_CMP_MASKED_EQ';

/** A condition on one argument, compared as an unsigned 64-bit number. */
export interface ProfileArgument {
  /** Which argument, from 0 to 5. */
  readonly index: number;
  /** A number above 2^53 must be a bigint or decimal text ({@link parseProfile} makes it so). */
  readonly value: number | bigint | string;
  /** What the masked argument must be, for `SCMP_CMP_MASKED_EQ`; other operators do not look at it. Default 0. */
  readonly valueTwo?: number | bigint | string | undefined;
  /** How `value` is compared. */
  readonly op: ScmpOperator;
}

/** When a rule counts (Docker's extension of the runtime specification). */
export interface ProfileCondition {
  /** Names such as `CAP_SYS_ADMIN`. All of `includes`, any of `excludes`. */
  readonly caps?: readonly string[] | null | undefined;
  /** Go's architecture names: `amd64`, `arm64`, `x86`. */
  readonly arches?: readonly string[] | null | undefined;
  /** `'4.8'`, or with a third number, `'4.8.0'`. */
  readonly minKernel?: string | undefined;
}

/** One entry of a profile's `syscalls`. */
export interface ProfileRule {
  /** System calls; those no ABI has are left out with a warning. */
  readonly names?: readonly string[] | undefined;
  /** Old form of `names` with a single name. */
  readonly name?: string | undefined;
  /** What becomes of the calls. */
  readonly action: ScmpAction;
  /** errno of `SCMP_ACT_ERRNO`, message of `SCMP_ACT_TRACE`. Default EPERM. */
  readonly errnoRet?: number | null | undefined;
  /** The same by name, as Podman's profiles have it; counts before `errnoRet`. */
  readonly errno?: string | undefined;
  /** All must hold; conditions on the same argument make the rule one rule per condition, as runc has it. */
  readonly args?: readonly ProfileArgument[] | null | undefined;
  /** The rule counts when all of it holds. Default: always. */
  readonly includes?: ProfileCondition | null | undefined;
  /** The rule does not count when any of it holds. Default: never. */
  readonly excludes?: ProfileCondition | null | undefined;
  /** For readers. */
  readonly comment?: string | undefined;
}

/** A profile in the form of the OCI runtime specification (`linux.seccomp`) or of Docker (`--security-opt seccomp=`). */
export interface SeccompProfile {
  /** What becomes of calls that no rule names. */
  readonly defaultAction: ScmpAction;
  /** errno of a `defaultAction` of `SCMP_ACT_ERRNO`, message of `SCMP_ACT_TRACE`. Default EPERM. */
  readonly defaultErrnoRet?: number | null | undefined;
  /** The same by name, as Podman's profiles have it; counts before `defaultErrnoRet`. */
  readonly defaultErrno?: string | undefined;
  /** ABIs besides the machine's own, `SCMP_ARCH_*`. */
  readonly architectures?: readonly string[] | null | undefined;
  /** Docker's form of `architectures`: which ABIs to add on which machine. */
  readonly archMap?:
    | readonly { readonly architecture: string; readonly subArchitectures?: readonly string[] | null | undefined }[]
    | null
    | undefined;
  /** `SECCOMP_FILTER_FLAG_TSYNC`, `_LOG`, `_SPEC_ALLOW`, `_WAIT_KILLABLE_RECV`. */
  readonly flags?: readonly string[] | null | undefined;
  /** Path of a socket where an agent waits for the notification descriptor: a matter of the runtime, not of the filter. */
  readonly listenerPath?: string | undefined;
  /** For that agent. */
  readonly listenerMetadata?: string | undefined;
  /** The rules; where several hold for a call, the first without conditions, as libseccomp has it. */
  readonly syscalls?: readonly ProfileRule[] | null | undefined;
}
