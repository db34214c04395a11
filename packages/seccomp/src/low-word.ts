import { SpecError } from '@ns/libc';
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
 *
 * @example
 * ```ts
 * const AF_VSOCK = 40;
 * const rules = lowWordExcept(0, [AF_VSOCK]).map((family) => ({
 *   names: ['socket'],
 *   action: 'SCMP_ACT_ALLOW' as const,
 *   args: [family],
 * }));
 * ```
 */
export function lowWordExcept(index: number, excluded: readonly number[]): ProfileArgument[] {
  if (!Array.isArray(excluded)) throw new SpecError('excluded', 'a list of values', excluded);
  const values = excluded.map((value) => lowWord(value, 'excluded'));
  const blocks = (prefix: number, fixed: number): ProfileArgument[] => {
    const size = 2 ** (BITS - fixed);
    const inside = values.filter((value) => value >= prefix && value < prefix + size);
    if (inside.length === 0) return [{ index, op: 'SCMP_CMP_MASKED_EQ', value: 2 ** BITS - size, valueTwo: prefix }];
    return size === 1 ? [] : [...blocks(prefix, fixed + 1), ...blocks(prefix + size / 2, fixed + 1)];
  };
  return blocks(0, 0);
}

/**
 * A condition that holds for one value of an `int` argument, whatever its upper half.
 *
 * @example
 * ```ts
 * lowWordEquals(0, 2); // { index: 0, op: 'SCMP_CMP_MASKED_EQ', value: 0xffffffff, valueTwo: 2 }
 * ```
 */
export function lowWordEquals(index: number, value: number): ProfileArgument {
  return { index, op: 'SCMP_CMP_MASKED_EQ', value: 2 ** BITS - 1, valueTwo: lowWord(value, 'value') };
}

/** An int as the kernel reads it: -1 is 0xffffffff. */
function lowWord(value: unknown, field: string): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < -(2 ** 31) || value >= 2 ** BITS)
    throw new SpecError(field, 'a value of 32 bits', value);
  return value >>> 0;
}
