import { SpecError } from '@ns/libc';
import { formatIpAddress, parseIpAddress } from '@ns/netlink';
import IPCIDR from 'ip-cidr';

/** A subnet as numbers: every question about it is arithmetic. */
export interface Subnet {
  readonly family: 'inet' | 'inet6';
  /** Bits of an address: 32 or 128. */
  readonly bits: number;
  readonly prefixLength: number;
  readonly first: bigint;
  readonly last: bigint;
  /** Canonical text: `10.1.0.0/16`. */
  readonly text: string;
}

/**
 * Reads a subnet.
 *
 * @throws SpecError when it is none, or has bits set behind the prefix (`10.1.0.5/16`)
 */
export function parseSubnet(text: string, field = 'subnet'): Subnet {
  if (typeof text !== 'string' || !text.includes('/') || !IPCIDR.isValidCIDR(text)) {
    throw new SpecError(field, 'a subnet such as 10.1.0.0/16 or fd00:1::/64', text);
  }
  const subnet = subnetAround(text);
  const given = addressNumber(text.slice(0, text.indexOf('/')), field);
  if (given !== subnet.first) throw new SpecError(field, `the subnet's own address, ${subnet.text}`, text);
  return subnet;
}

/** The subnet that an address with prefix length lies in. */
export function subnetAround(cidr: string): Subnet {
  const parsed = new IPCIDR(cidr);
  const first = parsed.start<bigint>({ type: 'bigInteger' });
  const last = parsed.end<bigint>({ type: 'bigInteger' });
  const family = cidr.includes(':') ? 'inet6' : 'inet';
  const prefixLength = Number(cidr.slice(cidr.indexOf('/') + 1));
  return {
    family,
    bits: family === 'inet' ? 32 : 128,
    prefixLength,
    first,
    last,
    text: `${addressText(first, family)}/${prefixLength}`,
  };
}

/** A subnet by its numbers. `first` must be aligned to the prefix. */
export function subnetFrom(family: 'inet' | 'inet6', first: bigint, prefixLength: number): Subnet {
  const bits = family === 'inet' ? 32 : 128;
  const last = first + (1n << BigInt(bits - prefixLength)) - 1n;
  return { family, bits, prefixLength, first, last, text: `${addressText(first, family)}/${prefixLength}` };
}

/** Do two subnets have an address in common? */
export function overlaps(a: Subnet, b: Subnet): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

/** Does a subnet have this address? */
export function contains(subnet: Subnet, address: bigint): boolean {
  return subnet.first <= address && address <= subnet.last;
}

/** An address as a number. */
export function addressNumber(text: string, field = 'address'): bigint {
  return BigInt(`0x${parseIpAddress(text, field).toString('hex')}`);
}

/** A number as an address. */
export function addressText(address: bigint, family: 'inet' | 'inet6'): string {
  const size = family === 'inet' ? 4 : 16;
  return formatIpAddress(Buffer.from(address.toString(16).padStart(size * 2, '0'), 'hex'));
}

/**
 * The addresses hosts may have. IPv4 leaves out the network and broadcast addresses, but not of a /31 (RFC 3021) or /32;
 * IPv6 leaves out the subnet-router anycast address, but not of a /127 (RFC 6164) or /128.
 */
export function hostRange(subnet: Subnet): { first: bigint; last: bigint } {
  if (subnet.bits - subnet.prefixLength <= 1) return { first: subnet.first, last: subnet.last };
  return { first: subnet.first + 1n, last: subnet.family === 'inet' ? subnet.last - 1n : subnet.last };
}
