import { AF, SpecError } from '@ns/libc';
import { parseIpAddress } from '@ns/netlink';

/** An address with a prefix length, and the numbers a message wants. */
export interface Cidr {
  readonly address: string;
  readonly prefixLength: number;
  readonly family: number;
  readonly bytes: Buffer;
}

/**
 * Reads `10.0.0.1/24` or `fd00::1/64`. Without a prefix length it is one address: /32 or /128.
 *
 * @throws SpecError
 */
export function parseCidr(text: string, field: string): Cidr {
  const [address = '', length, ...rest] = String(text).split('/');
  const bytes = parseIpAddress(address, field);
  const bits = bytes.length * 8;
  const prefixLength = length === undefined ? bits : /^\d{1,3}$/.test(length) ? Number(length) : -1;
  if (rest.length > 0 || prefixLength < 0 || prefixLength > bits)
    throw new SpecError(field, `an address with a prefix length of 0 to ${bits}`, text);
  return { address, prefixLength, family: familyOf(bytes), bytes };
}

/** AF_INET for 4 bytes, AF_INET6 for 16. */
export function familyOf(bytes: Uint8Array): number {
  return bytes.length === 4 ? AF.INET : AF.INET6;
}
