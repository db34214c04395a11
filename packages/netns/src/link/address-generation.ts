import { AF } from '@ns/libc';
import { encodeAttributes, findAttribute, IFLA_INET6 } from '@ns/netlink';

/* How a link comes by its IPv6 link-local address: IFLA_INET6_ADDR_GEN_MODE, inside IFLA_AF_SPEC. */

const modes = { eui64: 0, none: 1, stable_secret: 2, random: 3 } as const;

/** In the words of `ip`: from the MAC address, not at all, from the secret of the sysctl `stable_secret`, or from one the kernel chooses. */
export type AddressGeneration = keyof typeof modes;

const names = Object.keys(modes) as AddressGeneration[];

/** Is it one of them? */
export function isAddressGeneration(value: unknown): value is AddressGeneration {
  return names.includes(value as AddressGeneration);
}

/** The payload of IFLA_AF_SPEC that sets it. */
export function withAddressGeneration(generation: AddressGeneration): Buffer {
  const mode = { type: IFLA_INET6.ADDR_GEN_MODE, payload: Buffer.from([modes[generation]]) };
  return encodeAttributes([{ type: AF.INET6, payload: encodeAttributes([mode]) }]);
}

/** Reads it from the payload of IFLA_AF_SPEC; a link without IPv6 has none. */
export function addressGenerationOf(addressFamilies: Buffer | undefined): AddressGeneration | undefined {
  const six = addressFamilies && findAttribute(addressFamilies, AF.INET6);
  const mode = six && findAttribute(six, IFLA_INET6.ADDR_GEN_MODE)?.[0];
  return names.find((name) => modes[name] === mode);
}
