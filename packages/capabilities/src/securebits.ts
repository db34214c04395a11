import { check, nearest, PR, prctl, SpecError } from '@ns/libc';

/** Securebits in the order of the kernel's bits: <linux/securebits.h>. */
export const securebitNames = [
  'SECBIT_NOROOT',
  'SECBIT_NOROOT_LOCKED',
  'SECBIT_NO_SETUID_FIXUP',
  'SECBIT_NO_SETUID_FIXUP_LOCKED',
  'SECBIT_KEEP_CAPS',
  'SECBIT_KEEP_CAPS_LOCKED',
  'SECBIT_NO_CAP_AMBIENT_RAISE', // since 4.3
  'SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED',
  'SECBIT_EXEC_RESTRICT_FILE', // since 6.14
  'SECBIT_EXEC_RESTRICT_FILE_LOCKED',
  'SECBIT_EXEC_DENY_INTERACTIVE', // since 6.14
  'SECBIT_EXEC_DENY_INTERACTIVE_LOCKED',
] as const;

/** A securebit by the kernel's name. */
export type SecurebitName = (typeof securebitNames)[number];

/**
 * The names of the bits that are set; a bit without a name as hexadecimal number.
 *
 * @example
 * ```ts
 * formatSecurebits(0b10001); // ['SECBIT_NOROOT', 'SECBIT_KEEP_CAPS']
 * ```
 */
export function formatSecurebits(bits: number): string[] {
  return Array.from({ length: 32 }, (_, bit) => bit)
    .filter((bit) => (bits >>> bit) & 1)
    .map((bit) => securebitNames[bit] ?? `0x${(2 ** bit).toString(16)}`);
}

/**
 * The bits of a list of names; reverses {@link formatSecurebits}.
 *
 * @throws SpecError for an unknown name, with the nearest
 *
 * @example
 * ```ts
 * parseSecurebits(['SECBIT_NOROOT', 'SECBIT_NOROOT_LOCKED']); // 3
 * ```
 */
export function parseSecurebits(names: readonly (SecurebitName | (string & {}))[]): number {
  if (!Array.isArray(names)) throw new SpecError('securebits', 'an array of names', names);
  return names.reduce<number>((bits, name, index) => (bits | bitOf(name, `securebits[${index}]`)) >>> 0, 0);
}

function bitOf(name: unknown, field: string): number {
  if (typeof name !== 'string') throw new SpecError(field, 'the name of a securebit', name);
  const index = (securebitNames as readonly string[]).indexOf(name);
  if (index >= 0) return 2 ** index;
  if (/^0x[0-9a-f]{1,8}$/.test(name)) return Number.parseInt(name, 16);
  const near = nearest(name, securebitNames);
  throw new SpecError(field, 'the name of a securebit', name, near && `Did you mean ${near}?`);
}

/**
 * The calling thread's securebits, which say how far uid 0 is special to it: `prctl(PR_GET_SECUREBITS)`.
 *
 * Since 2.6.26. Needs no privilege.
 *
 * @example
 * ```ts
 * getSecurebits().includes('SECBIT_KEEP_CAPS');
 * ```
 */
export function getSecurebits(): string[] {
  return formatSecurebits(check('prctl', prctl(PR.GET_SECUREBITS), { doing: 'reading the securebits' }));
}

/**
 * Sets the calling thread's securebits to exactly these: `prctl(PR_SET_SECUREBITS)`. A `_LOCKED` bit freezes its
 * neighbour for this thread and all its later children.
 *
 * @throws SyscallError `EPERM` without CAP_SETPCAP, or against a lock
 * @throws SpecError for an unknown name
 *
 * @example
 * ```ts
 * setSecurebits(['SECBIT_NOROOT', 'SECBIT_NOROOT_LOCKED']); // uid 0 is nobody special from now on
 * ```
 */
export function setSecurebits(names: readonly (SecurebitName | (string & {}))[]): void {
  check('prctl', prctl(PR.SET_SECUREBITS, parseSecurebits(names)), {
    doing: `setting the securebits to ${names.join(', ') || '(none)'}`,
    hint: 'Needs CAP_SETPCAP; a locked bit cannot be changed, nor its lock',
  });
}
