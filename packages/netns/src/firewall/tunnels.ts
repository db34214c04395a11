import { NETLINK } from '@ns/netlink';
import { type InNetns, openSocket } from '../namespace-reference.ts';
import { addressField, type Element, keyElement, portField, putElements, removeElements } from './set-elements.ts';

/** A VXLAN tunnel of this host, and who its other ends are. */
export interface GuardedTunnel {
  /** VXLAN network identifier. */
  readonly id: number;
  /** UDP port, default 4789 (IANA). */
  readonly port?: number;
  /** Addresses its packets may come from, of either version. */
  readonly peers: readonly string[];
}

/**
 * Lets only the peers send into a tunnel: no other machine, and no container of a bridge, neither here nor by way of here to a
 * peer, who would take what comes from this host's address for this host's. VXLAN itself asks nobody who he is, so a neighbour of
 * the host that sends with a peer's address gets in all the same. Idempotent. Needs the table of {@link Firewall.open}, and
 * CAP_NET_ADMIN.
 *
 * @throws NetlinkError ENOENT without the table
 * @example guardTunnel({ id: 42, peers: ['192.0.2.7'] });
 */
export function guardTunnel(tunnel: GuardedTunnel, { netns }: InNetns = {}): void {
  using socket = openSocket(netns, { protocol: NETLINK.NETFILTER });
  putElements(socket, tunnelElements(tunnel));
}

/** Undoes {@link guardTunnel}, when the tunnel is gone or takes in nothing any more. Idempotent. */
export function unguardTunnel(tunnel: GuardedTunnel, { netns }: InNetns = {}): void {
  using socket = openSocket(netns, { protocol: NETLINK.NETFILTER });
  removeElements(socket, tunnelElements(tunnel));
}

function tunnelElements({ id, port = 4789, peers }: GuardedTunnel): Element[] {
  const tunnel = [portField(port), identifierField(id)];
  const doing = `guard tunnel ${id} at UDP port ${port}`;
  return [
    { set: 'tunnels', elements: [keyElement(...tunnel)], doing },
    ...[...new Set(peers)].map((peer): Element => {
      const set = peer.includes(':') ? 'tunnel_peers6' : 'tunnel_peers4';
      return { set, elements: [keyElement(...tunnel, addressField(peer))], doing };
    }),
  ];
}

/** As the header has it: 24 bits, in network order. */
function identifierField(id: number): Buffer {
  const field = Buffer.alloc(4);
  field.writeUIntBE(id, 0, 3);
  return field;
}
