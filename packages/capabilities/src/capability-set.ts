import { inspect } from 'node:util';
import { SpecError } from '@ns/libc';
import { CAPABILITY_BITS, type Capability, capabilityName, capabilityNumber, lastCapability } from './names.ts';

const FULL = (1n << BigInt(CAPABILITY_BITS)) - 1n;

/** Throws a SpecError for what is no set: a mask tells, also of a set of another copy of this package. */
export function checkCapabilitySet(value: unknown, field: string): void {
  if (typeof (value as Partial<CapabilitySet> | null | undefined)?.mask !== 'bigint')
    throw new SpecError(field, 'a CapabilitySet', value, "CapabilitySet.of('CAP_CHOWN') makes one");
}

/**
 * A set of capabilities: an immutable value over the kernel's 64-bit mask. Bits without a name are kept.
 *
 * Iterating yields names in the order of the numbers (`CAP_CHOWN`, …), a bit without a name as its number (`'63'`).
 *
 * @example
 * ```ts
 * const set = CapabilitySet.of('CAP_NET_RAW', 'chown');
 * set.has('net_raw'); // true
 * [...set]; // ['CAP_CHOWN', 'CAP_NET_RAW']
 * set.toHex(); // '0000000000002001'
 * ```
 */
export class CapabilitySet implements Iterable<string> {
  /** The set without members. */
  static readonly empty = new CapabilitySet(0n);

  /** Bit N is capability N. */
  readonly mask: bigint;

  private constructor(mask: bigint) {
    this.mask = mask;
    Object.freeze(this);
  }

  /**
   * @throws SpecError for a mask that is negative or has more than 64 bits
   */
  static fromMask(mask: bigint): CapabilitySet {
    if (typeof mask !== 'bigint' || mask < 0n || mask > FULL) throw new SpecError('mask', 'a 64-bit mask', mask);
    return new CapabilitySet(mask);
  }

  /**
   * A set as `/proc/PID/status` prints it.
   *
   * @throws SpecError for anything but 1 to 16 hexadecimal digits
   */
  static fromHex(text: string): CapabilitySet {
    if (typeof text !== 'string' || !/^[0-9a-f]{1,16}$/i.test(text))
      throw new SpecError('mask', '1 to 16 hexadecimal digits', text);
    return new CapabilitySet(BigInt(`0x${text}`));
  }

  /**
   * @param field - what to call the list in an error
   * @throws SpecError for an unknown name
   */
  static from(capabilities: Iterable<Capability>, field = 'capabilities'): CapabilitySet {
    if (typeof (capabilities as Partial<Iterable<Capability>> | null | undefined)?.[Symbol.iterator] !== 'function')
      throw new SpecError(field, 'a list of capabilities', capabilities);
    let mask = 0n;
    let index = 0;
    for (const capability of capabilities) mask |= bit(capability, `${field}[${index++}]`);
    return new CapabilitySet(mask);
  }

  /** @throws SpecError for an unknown name */
  static of(...capabilities: readonly Capability[]): CapabilitySet {
    return CapabilitySet.from(capabilities);
  }

  /** Every capability the running kernel knows. */
  static all(): CapabilitySet {
    return new CapabilitySet((1n << BigInt(lastCapability() + 1)) - 1n);
  }

  /** How many capabilities are in it. */
  get size(): number {
    return this.numbers().length;
  }

  /**
   * Whether a capability is in it.
   *
   * @throws SpecError for an unknown name
   */
  has(capability: Capability): boolean {
    return (this.mask & bit(capability)) !== 0n;
  }

  /** What is in either. */
  union(other: CapabilitySet): CapabilitySet {
    return new CapabilitySet(this.mask | maskOf(other));
  }

  /** What is in both. */
  intersection(other: CapabilitySet): CapabilitySet {
    return new CapabilitySet(this.mask & maskOf(other));
  }

  /** What is in this and not in the other. */
  difference(other: CapabilitySet): CapabilitySet {
    return new CapabilitySet(this.mask & ~maskOf(other));
  }

  /** Whether all of it is in the other. */
  isSubsetOf(other: CapabilitySet): boolean {
    return (this.mask & ~maskOf(other)) === 0n;
  }

  /** Whether both have the same members, bits without a name included. */
  equals(other: CapabilitySet): boolean {
    return this.mask === maskOf(other);
  }

  /** The members' numbers, ascending. */
  numbers(): number[] {
    const numbers: number[] = [];
    for (let number = 0, rest = this.mask; rest !== 0n; number++, rest >>= 1n) if (rest & 1n) numbers.push(number);
    return numbers;
  }

  /** The members' names, in the order of their numbers. */
  names(): string[] {
    return this.numbers().map(capabilityName);
  }

  [Symbol.iterator](): Iterator<string> {
    return this.names()[Symbol.iterator]();
  }

  /** Sixteen digits, as in `/proc/PID/status`. */
  toHex(): string {
    return this.mask.toString(16).padStart(16, '0');
  }

  /** Names in lower case with commas between, as `capsh --decode` prints them. */
  toString(): string {
    return this.names().join(',').toLowerCase();
  }

  /** The names, as an OCI configuration lists them. */
  toJSON(): string[] {
    return this.names();
  }

  [inspect.custom](): string {
    return `CapabilitySet(${this.size}) { ${this.names().join(', ')} }`;
  }
}

function maskOf(set: CapabilitySet): bigint {
  checkCapabilitySet(set, 'other');
  return set.mask;
}

function bit(capability: Capability, field?: string): bigint {
  return 1n << BigInt(capabilityNumber(capability, field));
}
