import type { Endpoint } from '@ns/netns';

/** Addresses of a container in a network, IPv4 first. */
export function addressesOf({ address, address6 }: Endpoint): string[] {
  return [address, address6].filter((one) => one !== undefined);
}
