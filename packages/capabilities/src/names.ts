import { readFileSync } from 'node:fs';
import { nearest, SpecError } from '@ns/libc';

/** Names of the capabilities, in the order of their numbers: <linux/capability.h>. */
export const capabilityNames = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON', // since 5.8
  'CAP_BPF', // since 5.8
  'CAP_CHECKPOINT_RESTORE', // since 5.9
] as const;

/** A capability by the kernel's own name. */
export type CapabilityName = (typeof capabilityNames)[number];

/** A capability: its name (`CAP_CHOWN`, `chown`, any case) or its number, also as decimal text. */
export type Capability = CapabilityName | (string & {}) | number;

/** How many capabilities the kernel's sets have room for. */
export const CAPABILITY_BITS = 64;

const numbers = new Map<string, number>(capabilityNames.map((name, number) => [name, number]));

let last: number | undefined;

/**
 * The highest capability number the running kernel knows: `/proc/sys/kernel/cap_last_cap`, since 3.2. Where that file
 * cannot be read, the last one this package knows.
 *
 * @example
 * ```ts
 * capabilityName(lastCapability()); // 'CAP_CHECKPOINT_RESTORE' since 5.9
 * ```
 */
export function lastCapability(): number {
  last ??= readLastCapability();
  return last;
}

function readLastCapability(): number {
  try {
    const number = Number.parseInt(readFileSync('/proc/sys/kernel/cap_last_cap', 'latin1'), 10);
    if (number >= 0 && number < CAPABILITY_BITS) return number;
  } catch {
    // A /proc without sys/ (subset=pid) is no reason not to know names.
  }
  return capabilityNames.length - 1;
}

/**
 * The name of a capability number; the number as text, as libcap prints it, for one without a name.
 *
 * @example
 * ```ts
 * capabilityName(13); // 'CAP_NET_RAW'
 * capabilityName(63); // '63'
 * ```
 */
export function capabilityName(number: number): string {
  return capabilityNames[number] ?? String(number);
}

/**
 * The number of a capability.
 *
 * @param capability - `CAP_CHOWN`, `cap_chown`, `chown`, `0` or `'0'`
 * @param field - what to call it in an error
 * @throws SpecError for a name that does not exist (it names the nearest), and for a number that is not 0 to 63
 *
 * @example
 * ```ts
 * capabilityNumber('net_raw'); // 13
 * ```
 */
export function capabilityNumber(capability: Capability, field = 'capability'): number {
  if (typeof capability === 'number' || (typeof capability === 'string' && /^\d+$/.test(capability))) {
    const number = Number(capability);
    if (Number.isInteger(number) && number >= 0 && number < CAPABILITY_BITS) return number;
    throw new SpecError(field, 'a capability number, 0 to 63', capability);
  }
  if (typeof capability !== 'string') throw new SpecError(field, 'the name of a capability', capability);
  const upper = capability.toUpperCase();
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  const number = numbers.get(name);
  if (number !== undefined) return number;
  const near = nearest(name, capabilityNames);
  throw new SpecError(field, 'the name of a capability', capability, near && `Did you mean ${near}?`);
}
