import { formatIpAddress, parseIpAddress } from '@ns/netlink';
import type { Firewall, PublishedPort } from '../firewall/firewall.ts';
import type { Endpoint } from './network-state.ts';

/**
 * Ports of a record that the kernel leads to its container. A record is written before its ports are published, so a
 * crash in between leaves one whose numbers may lead to somebody else by now.
 */
export function portsInForce(firewall: Firewall, { ports }: Endpoint): PublishedPort[] {
  if (ports.length === 0) return [];
  const inForce = new Set(firewall.published().map(describe));
  return ports.flatMap(inKernel).filter((port) => inForce.has(describe(port)));
}

/** As the firewall has them: addresses that mean any are left out, and what only the proxy serves. */
export function inKernel({ hostAddress, ...port }: PublishedPort): PublishedPort[] {
  if (hostAddress !== undefined && hostAddress.includes(':') !== port.address.includes(':')) return [];
  return [
    hostAddress === undefined || hostAddress === '0.0.0.0' || hostAddress === '::' ? port : { ...port, hostAddress },
  ];
}

function describe({ protocol, hostAddress, hostPort, address, port }: PublishedPort): string {
  return [
    protocol,
    hostAddress === undefined ? 'any' : canonical(hostAddress),
    hostPort,
    canonical(address),
    port,
  ].join(' ');
}

/** IPv6 addresses have many spellings. */
function canonical(address: string): string {
  return formatIpAddress(parseIpAddress(address));
}
