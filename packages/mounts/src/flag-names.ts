import { MOUNT_ATTR, MS } from '@ns/libc';

function namesOf(table: Readonly<Record<string, number>>, prefix: string, bits: number): string {
  const names: string[] = [];
  let rest = bits;
  for (const [name, bit] of Object.entries(table)) {
    if (bit === 0 || name.startsWith('_') || (rest & bit) !== bit) continue;
    names.push(`${prefix}${name}`);
    rest &= ~bit;
  }
  // Bits this library has no name for are shown, never dropped.
  if (rest !== 0) names.push(`0x${(rest >>> 0).toString(16)}`);
  return names.join('|') || '0';
}

/** `MS_BIND|MS_REC` for a number; unknown bits as hex. */
export function mountFlagNames(flags: number): string {
  return namesOf(MS, 'MS_', flags);
}

/** `MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID` for a number; unknown bits as hex. */
export function mountAttributeNames(attributes: number): string {
  return namesOf(MOUNT_ATTR, 'MOUNT_ATTR_', attributes);
}
