import type { Ruleset } from './ruleset.ts';

/** How IPv6 neighbours find each other and tell what groups they are in. What routers say is not among it. */
export const discoveryTypes = [
  'nd-neighbor-solicit',
  'nd-neighbor-advert',
  'nd-router-solicit',
  'mld-listener-report',
  'mld-listener-done',
  'mld2-listener-report',
].join(', ');

/**
 * Ports of bridges whose container has an egress policy of its own. The policy is found by the address a packet comes
 * from, so that address must be true: such a port sends nothing but its own addresses, and nobody else may send them.
 *
 * What goes between such a port and its neighbours is handed to the host as if it were addressed to the bridge (as
 * ebtables' `redirect` does), and is routed back by the host: so policy, connection tracking and refusal are the same
 * rules as on the way out, and need nothing of the bridge's own connection tracking, which many kernels lack.
 */
export const portRuleset: Ruleset = {
  family: 'bridge',
  sets: [
    'set policed { type ifname; }',
    'set own_mac { type ifname . ether_addr; }',
    'set own4 { type ifname . ipv4_addr; }',
    'set own6 { type ifname . ipv6_addr; }',
    // What neighbour advertisements speak of: `icmpv6 taddr`, by its place, which older nft can say too.
    'set own_target { typeof iifname . @th,64,128; }',
    'set taken_target { typeof @th,64,128; }',
    'set taken4 { type ipv4_addr; }',
    'set taken6 { type ipv6_addr; }',
    // Address of the bridge: by the port of a policed container, and by what a neighbour sends to it.
    'map router { type ifname : ether_addr; }',
    'map router4 { type ether_addr . ipv4_addr : ether_addr; }',
    'map router6 { type ether_addr . ipv6_addr : ether_addr; }',
  ],
  chains: {
    prerouting: [
      'type filter hook prerouting priority -300; policy accept;',
      'iifname @policed goto from_policed',
      // Ports of our networks, and their tunnels: bridges of others may have the same addresses.
      'iifname "nsv*" goto from_neighbour',
      'iifname "nsx*" goto from_neighbour',
    ],
    // `ether type` also tells frames with a VLAN tag, which are none of these.
    from_policed: [
      'iifname . ether saddr != @own_mac drop',
      'ether type arp iifname . arp saddr ether @own_mac iifname . arp saddr ip @own4 accept',
      'ether type ip iifname . ip saddr @own4 goto to_router',
      'ether type ip6 goto from_policed6',
      'drop',
    ],
    from_policed6: [
      `icmpv6 type { ${discoveryTypes} } goto discovery`,
      'iifname . ip6 saddr @own6 goto to_router',
      'drop',
    ],
    discovery: [
      'icmpv6 type nd-neighbor-advert iifname . @th,64,128 != @own_target drop',
      'iifname . ip6 saddr @own6 accept',
      // Asks whether somebody has the address it is about to take.
      'ip6 saddr :: accept',
      'drop',
    ],
    to_router: [
      // Nobody can tell who would hear it.
      'meta pkttype { broadcast, multicast } drop',
      'ether daddr set iifname map @router meta pkttype set host accept',
      'drop',
    ],
    from_neighbour: [
      'ip saddr @taken4 drop',
      'ip6 saddr @taken6 drop',
      'arp saddr ip @taken4 drop',
      'icmpv6 type nd-neighbor-advert @th,64,128 @taken_target drop',
      'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept',
      'ether daddr set ether daddr . ip daddr map @router4 meta pkttype set host',
      'ether daddr set ether daddr . ip6 daddr map @router6 meta pkttype set host',
    ],
  },
  marker: 'ruleset_1',
};
