/** Something asked for, or a default, that cannot be had on this machine: the container runs without it. */
export interface ContainerWarning {
  readonly code: 'NS_CAPABILITY_NOT_GRANTED' | 'NS_APPARMOR_NOT_APPLIED';
  /** What is missing: `CAP_SYS_RESOURCE`, or the name of a profile. */
  readonly name: string;
  /** A sentence. */
  readonly message: string;
  /** What would change it. */
  readonly hint?: string;
}
