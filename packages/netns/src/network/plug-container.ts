import { NetlinkError } from '@ns/netlink';
import { add as addAddress } from '../address.ts';
import type { AddressPool } from '../ipam/address-pool.ts';
import { setBridgePort } from '../link/bridge.ts';
import { setUp } from '../link/change.ts';
import { createVeth } from '../link/create.ts';
import { get as getLink } from '../link/link.ts';
import type { InNetns } from '../namespace-reference.ts';
import type { NetNamespace } from '../net-namespace.ts';
import { replace as replaceRoute } from '../route.ts';
import { digest, type Endpoint, type NetworkRecord } from './network-state.ts';

/** Where a container is plugged in. */
export interface NetworkSide extends InNetns {
  readonly record: NetworkRecord;
  readonly pools: readonly AddressPool[];
}

/**
 * Makes a container's link: a veth with one end in the bridge, addresses, and the way out.
 *
 * @param wayOut - gateways to route everything through; none for a network that is not the way out
 */
export async function plugContainer(
  into: NetworkSide,
  endpoint: Endpoint,
  inside: NetNamespace,
  wayOut: readonly string[],
): Promise<void> {
  const { netns, pools } = into;
  const { bridge, mtu, icc } = into.record;
  const { hostLink, link, mac } = endpoint;
  const peer = { name: link, netns: inside, mac, mtu };
  await createVeth({ name: hostLink, mtu, master: bridge, up: true, netns, peer });
  // hairpin: with br_netfilter, a container's own published port comes back through the port it left by.
  await setBridgePort(hostLink, { netns, hairpin: true, isolated: !icc });
  for (const pool of pools) {
    const six = pool.subnet.family === 'inet6';
    // Switched off inside (net.ipv6.conf.all.disable_ipv6): the container has no use for the address.
    await addAddress(link, `${six ? endpoint.address6 : endpoint.address}/${pool.subnet.prefixLength}`, {
      netns: inside,
      nodad: six,
    }).catch((error: unknown) => {
      if (!(six && error instanceof NetlinkError && error.code === 'EACCES')) throw error;
    });
  }
  await setUp(link, { netns: inside });
  for (const gateway of wayOut) {
    await replaceRoute({ to: 'default', via: gateway, link, netns: inside }).catch((error: unknown) => {
      if (!(gateway.includes(':') && error instanceof NetlinkError)) throw error;
    });
  }
}

/** `02:42:` and the IPv4 address, as Docker does; for IPv6 alone, digits of the owner. */
export function macFor(address: string, owner: string): string {
  const tail = address.includes(':')
    ? (digest(owner).slice(0, 8).match(/../g) as string[])
    : address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'));
  return ['02', '42', ...tail].join(':');
}

/** The first of eth0, eth1, ... that is free inside. */
export async function freeLinkName(netns: NetNamespace): Promise<string> {
  for (let number = 0; ; number++) if (!(await getLink(`eth${number}`, { netns }))) return `eth${number}`;
}
