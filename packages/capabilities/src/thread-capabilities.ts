import {
  allocate,
  check,
  LINUX_CAPABILITY_VERSION_3,
  PR,
  PR_CAP_AMBIENT,
  prctl,
  SpecError,
  SYS,
  syscall,
} from '@ns/libc';
import { CapabilitySet, checkCapabilitySet } from './capability-set.ts';
import { type Capability, capabilityName } from './names.ts';

/* Capabilities belong to threads, and these calls change the calling one only: in Node the main thread, or the worker
   that calls. Threads that exist already (libuv's pool, which runs fs.promises) keep what they have, so this is for
   programs that start others, not for locking Node itself in. */

/** Sets for {@link setThreadCapabilities}. */
export interface ThreadCapabilities {
  /** What is checked from now on; within `permitted`. */
  readonly effective: CapabilitySet;
  /** What may be made effective; within what the thread has. */
  readonly permitted: CapabilitySet;
  /** Default: empty. What stands here a program with inheritable file capabilities gets (CVE-2022-24769). */
  readonly inheritable?: CapabilitySet;
}

/**
 * Sets the calling thread's effective, permitted and inheritable capabilities: capset(2). Giving up needs no privilege,
 * and what left the permitted set does not come back. Capabilities that the kernel does not know are ignored by it.
 *
 * @throws SpecError for what is no set
 * @throws SyscallError `EPERM` when a set asks for more than the permitted set has
 *
 * @example
 * ```ts
 * const { permitted } = getProcessCapabilities('self');
 * setThreadCapabilities({ permitted, effective: CapabilitySet.empty }); // does nothing privileged by accident
 * ```
 */
export function setThreadCapabilities(sets: ThreadCapabilities): void {
  // Others than the three are let through: what a process has is given back as it was read.
  const given: unknown = sets;
  if (typeof given !== 'object' || given === null) throw new SpecError('sets', 'an object of sets', given);
  const { effective, permitted, inheritable = CapabilitySet.empty } = sets;
  for (const [field, set] of Object.entries({ effective, permitted, inheritable })) checkCapabilitySet(set, field);
  const header = allocate(8); // struct __user_cap_header_struct; pid 0 is the calling thread
  header.bytes.writeUInt32LE(LINUX_CAPABILITY_VERSION_3, 0);
  const data = allocate(24); // struct __user_cap_data_struct[2]: low halves, then high halves
  [effective, permitted, inheritable].forEach(({ mask }, i) => {
    data.bytes.writeUInt32LE(Number(mask & 0xffffffffn), 4 * i);
    data.bytes.writeUInt32LE(Number(mask >> 32n), 12 + 4 * i);
  });
  check('capset', syscall(SYS.capset, header.address, data.address), {
    args: { effective: `${effective}`, permitted: `${permitted}`, inheritable: `${inheritable}` },
    hint: 'effective must be within permitted, and permitted within what the thread has now; adding to inheritable is bounded by the bounding set',
  });
}

/**
 * Removes capabilities from the calling thread's bounding set for good, its later children's included: not even a file
 * with capabilities, or root in this user namespace, gets them back. `prctl(PR_CAPBSET_DROP)`.
 *
 * @throws SyscallError `EPERM` without CAP_SETPCAP, `EINVAL` for a capability that this kernel does not know
 *
 * @example
 * ```ts
 * dropBounding(CapabilitySet.all().difference(dockerDefault));
 * ```
 */
export function dropBounding(capabilities: Iterable<Capability>): void {
  const hint = 'Dropping from the bounding set needs CAP_SETPCAP; drop that one last from the effective set';
  each(capabilities, 'dropping', 'the bounding set', hint, (number) => prctl(PR.CAPBSET_DROP, number));
}

/**
 * Adds to the calling thread's ambient set: what a program without file capabilities keeps through execve(2).
 * `prctl(PR_CAP_AMBIENT_RAISE)`, since 4.3. Needs no privilege, but the capability in both permitted and inheritable set.
 *
 * @throws SyscallError `EPERM` when it is not in both sets, or `SECBIT_NO_CAP_AMBIENT_RAISE` is set
 *
 * @example
 * ```ts
 * const raw = CapabilitySet.of('CAP_NET_RAW');
 * setThreadCapabilities({ effective: raw, permitted: raw, inheritable: raw });
 * raiseAmbient(raw); // what this thread executes has it, whoever it runs as
 * ```
 */
export function raiseAmbient(capabilities: Iterable<Capability>): void {
  const hint = 'The capability must be permitted and inheritable, and the securebit SECBIT_NO_CAP_AMBIENT_RAISE clear';
  each(capabilities, 'raising', 'the ambient set', hint, (number) =>
    prctl(PR.CAP_AMBIENT, PR_CAP_AMBIENT.RAISE, number),
  );
}

/**
 * Removes from the calling thread's ambient set: `prctl(PR_CAP_AMBIENT_LOWER)`, since 4.3. Needs no privilege.
 *
 * @throws SpecError for an unknown name
 *
 * @example
 * ```ts
 * lowerAmbient(['CAP_NET_RAW']);
 * ```
 */
export function lowerAmbient(capabilities: Iterable<Capability>): void {
  each(capabilities, 'lowering', 'the ambient set', undefined, (number) =>
    prctl(PR.CAP_AMBIENT, PR_CAP_AMBIENT.LOWER, number),
  );
}

/**
 * Empties the calling thread's ambient set: `prctl(PR_CAP_AMBIENT_CLEAR_ALL)`, since 4.3. Needs no privilege.
 *
 * @example
 * ```ts
 * clearAmbient();
 * ```
 */
export function clearAmbient(): void {
  check('prctl', prctl(PR.CAP_AMBIENT, PR_CAP_AMBIENT.CLEAR_ALL), { doing: 'clearing the ambient set' });
}

function each(
  capabilities: Iterable<Capability>,
  verb: string,
  place: string,
  hint: string | undefined,
  call: (number: number) => number,
): void {
  // All names are read before the first call: a misspelt one changes nothing.
  for (const number of CapabilitySet.from(capabilities).numbers()) {
    check('prctl', call(number), { doing: `${verb} ${capabilityName(number)} in ${place}`, hint });
  }
}
