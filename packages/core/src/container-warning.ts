/** Something asked for, or a default, that cannot be had on this machine: the container runs without it. */
export interface ContainerWarning {
  readonly code:
    | 'NS_CAPABILITY_NOT_GRANTED'
    | 'NS_APPARMOR_NOT_APPLIED'
    | 'NS_SELINUX_INIT_UNLABELLED'
    | 'NS_LIMIT_NOT_SET';
  /** What is missing: `CAP_SYS_RESOURCE`, the name of a profile, a label, or the field of a limit. */
  readonly name: string;
  /** A sentence. */
  readonly message: string;
  /** What would change it. */
  readonly hint?: string;
}
