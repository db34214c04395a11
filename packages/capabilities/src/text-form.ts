import { SpecError } from '@ns/libc';
import { CapabilitySet, checkCapabilitySet } from './capability-set.ts';
import { CAPABILITY_BITS, type Capability, capabilityName, capabilityNumber, lastCapability } from './names.ts';

/** The three sets that the text form describes. */
export interface CapabilityState {
  /** Letter `e`. */
  readonly effective: CapabilitySet;
  /** Letter `p`. */
  readonly permitted: CapabilitySet;
  /** Letter `i`. */
  readonly inheritable: CapabilitySet;
}

// A bit each, in the order in which the letters are printed; the values decide the order of clauses (libcap's).
const FLAGS = [
  { letter: 'e', bit: 1, set: 'effective' },
  { letter: 'i', bit: 4, set: 'inheritable' },
  { letter: 'p', bit: 2, set: 'permitted' },
] as const;

const CLAUSE = /^(?<list>[0-9a-z_,]*)(?<actions>(?:=[+-]?[eip]+|=|[+-][eip]+)(?:[+-][eip]+)*)$/i;

/**
 * Reads the text form of cap_from_text(3): clauses like `cap_chown,cap_kill=ep`, `all=p`, `=ep cap_sys_admin-e`, applied
 * from left to right. Accepts what libcap accepts, and names without `CAP_` besides; numbers may be decimal, octal
 * (`010`) or hexadecimal (`0x8`). `all` and a clause without names stand for what the running kernel knows.
 *
 * @throws SpecError that names the clause at fault
 *
 * @example
 * ```ts
 * const { permitted, effective } = parseCapabilities('cap_net_raw,cap_net_admin=ep cap_net_admin-e');
 * ```
 */
export function parseCapabilities(text: string): CapabilityState {
  if (typeof text !== 'string') throw new SpecError('capabilities', 'text such as "cap_chown=ep"', text);
  const masks = { effective: 0n, permitted: 0n, inheritable: 0n };
  for (const clause of text.split(/[ \t\n\v\f\r]+/).filter(Boolean)) applyClause(masks, clause);
  return {
    effective: CapabilitySet.fromMask(masks.effective),
    permitted: CapabilitySet.fromMask(masks.permitted),
    inheritable: CapabilitySet.fromMask(masks.inheritable),
  };
}

type Masks = Record<'effective' | 'permitted' | 'inheritable', bigint>;

function applyClause(masks: Masks, clause: string): void {
  const { list = '', actions = '' } = CLAUSE.exec(clause)?.groups ?? refuse(clause);
  // Letters are lower case only, although names may be in any.
  if (actions !== actions.toLowerCase()) refuse(clause);
  const operations = actions.match(/=[+-]|[=+-]|[eip]+/g)!;
  // Only a plain '=' may stand for all capabilities.
  if (list === '' && (operations[0] !== '=' || operations.length > 2))
    refuse(clause, 'Name the capabilities, or "all"');
  const listed = list === '' ? CapabilitySet.all().mask : listMask(list, clause);
  let operation = '';
  for (const part of operations) {
    if (/[eip]/.test(part)) {
      for (const flag of FLAGS) {
        if (!part.includes(flag.letter)) continue;
        if (operation.endsWith('-')) masks[flag.set] &= ~listed;
        else masks[flag.set] |= listed;
      }
    } else {
      operation = part;
      if (part.startsWith('=')) for (const flag of FLAGS) masks[flag.set] &= ~listed;
    }
  }
}

function listMask(list: string, clause: string): bigint {
  let mask = 0n;
  for (const name of list.split(',')) {
    if (name === '') refuse(clause, 'A capability is missing beside a comma');
    // "all" replaces what stands before it, which shows only for numbers beyond the last capability.
    if (/^all$/i.test(name)) mask = CapabilitySet.all().mask;
    else mask |= 1n << BigInt(capabilityNumber(listed(name), 'capabilities'));
  }
  return mask;
}

/** Numbers as libcap reads them, by strtoul(3) with base 0: `08` is none, and refused as NaN. */
function listed(name: string): Capability {
  if (/^0\d+$/.test(name)) return Number(`0o${name}`);
  return /^0x/i.test(name) ? Number(name) : name;
}

function refuse(clause: string, hint?: string): never {
  throw new SpecError('capabilities', 'clauses like cap_chown,cap_kill=ep or =p', clause, hint);
}

/**
 * Prints the text form of cap_to_text(3), letter by letter as `getpcaps` does: first the state that most capabilities of the
 * running kernel share, then what differs from it.
 *
 * @example
 * ```ts
 * formatCapabilities(getProcessCapabilities(1)); // '=ep'
 * ```
 */
export function formatCapabilities(state: CapabilityState): string {
  for (const name of ['permitted', 'inheritable', 'effective'] as const)
    checkCapabilitySet((state as Partial<CapabilityState> | undefined)?.[name], `capabilities.${name}`);
  const known = lastCapability() + 1;
  const named = groupByFlags(state, 0, known);
  const dominant = mostCommon(named);
  const clauses: string[] = [];
  for (let flags = 7; flags >= 0; flags--) {
    const numbers = named[flags]!;
    if (flags === dominant || numbers.length === 0) continue;
    // "= cap_chown+ep" is written "cap_chown=ep".
    const raise = dominant === 0 && clauses.length === 0 ? '=' : '+';
    clauses.push(join(numbers) + change(raise, flags & ~dominant) + change('-', dominant & ~flags));
  }
  if (dominant !== 0 || clauses.length === 0) clauses.unshift(`=${letters(dominant)}`);
  // The bits that this kernel has no capability for count as empty, whatever the others are.
  const unnamed = groupByFlags(state, known, CAPABILITY_BITS);
  for (let flags = 7; flags > 0; flags--) {
    if (unnamed[flags]!.length > 0) clauses.push(join(unnamed[flags]!) + change('+', flags));
  }
  return clauses.join(' ');
}

/** Capability numbers by the combination of sets that they are in. */
function groupByFlags(state: CapabilityState, from: number, end: number): number[][] {
  const groups: number[][] = Array.from({ length: 8 }, () => []);
  for (let number = from; number < end; number++) {
    const flags = FLAGS.reduce((sum, { bit, set }) => sum | (state[set].has(number) ? bit : 0), 0);
    groups[flags]!.push(number);
  }
  return groups;
}

/** The fullest group, of equals the one with fewest flags: capabilities are rather not had. */
function mostCommon(groups: readonly (readonly number[])[]): number {
  return groups.reduce((best, group, flags) => (group.length > groups[best]!.length ? flags : best), 0);
}

const join = (numbers: readonly number[]) => numbers.map(capabilityName).join(',').toLowerCase();

const letters = (flags: number) =>
  FLAGS.filter(({ bit }) => flags & bit)
    .map(({ letter }) => letter)
    .join('');

const change = (sign: string, flags: number) => (flags === 0 ? '' : sign + letters(flags));
