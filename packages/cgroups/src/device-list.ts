import type { FullDeviceRule } from './device-policy.ts';

/**
 * Rules as lines for the files of the v1 devices controller, to be written one by one in this order. The kernel keeps
 * no "all but" lists for both kinds at once, so `a` in a rule with numbers becomes a line for each kind.
 */
export function deviceListWrites(rules: readonly FullDeviceRule[]): readonly { file: string; value: string }[] {
  const writes = [{ file: 'devices.deny', value: 'a' }];
  for (const { allow, type, major, minor, access } of rules) {
    const file = allow ? 'devices.allow' : 'devices.deny';
    if (type === 'a' && major === '*' && minor === '*' && access.length === 3) writes.push({ file, value: 'a' });
    else
      for (const kind of type === 'a' ? ['b', 'c'] : [type])
        writes.push({ file, value: `${kind} ${major}:${minor} ${access}` });
  }
  return writes;
}
