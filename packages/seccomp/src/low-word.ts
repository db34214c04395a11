import type { ProfileArgument } from './profile.ts';

const BITS = 32;

/**
 * Conditions that together hold for every value of an `int` argument except the given ones.
 *
 * The kernel takes the lower 32 bits of such an argument, while a profile's comparisons see all 64: "greater than 40" is
 * true of `AF_VSOCK | 1 << 32`, which socket(2) then takes for AF_VSOCK. MASKED_EQ is the only comparison that leaves the
 * upper half out. So the excluded values are cut out of the space block by block, as one cuts addresses out of a network:
 * each condition fixes the leading bits of a block, in which no excluded value lies.
 *
 * @returns one condition per rule: rules are alternatives
 */
export function lowWordExcept(index: number, excluded: readonly number[]): ProfileArgument[] {
  const blocks = (prefix: number, fixed: number): ProfileArgument[] => {
    const size = 2 ** (BITS - fixed);
    const inside = excluded.filter((value) => value >= prefix && value < prefix + size);
    if (inside.length === 0) return [{ index, op: 'SCMP_CMP_MASKED_EQ', value: 2 ** BITS - size, valueTwo: prefix }];
    return size === 1 ? [] : [...blocks(prefix, fixed + 1), ...blocks(prefix + size / 2, fixed + 1)];
  };
  return blocks(0, 0);
}

/** A condition that holds for one value of an `int` argument, whatever its upper half. */
export function lowWordEquals(index: number, value: number): ProfileArgument {
  return { index, op: 'SCMP_CMP_MASKED_EQ', value: 2 ** BITS - 1, valueTwo: value >>> 0 };
}
