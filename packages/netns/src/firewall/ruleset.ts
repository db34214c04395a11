/** Name of our table. Nothing outside it is ever touched. */
export const TABLE = 'ns';

/** Sets and maps that are filled while networks and containers come and go. */
export type SetName =
  | 'bridges'
  | 'same_bridge'
  | 'internal'
  | 'strangers'
  | 'nat4'
  | 'nat6'
  | 'publish4'
  | 'publish4_on'
  | 'publish6'
  | 'publish6_on'
  | 'tunnels'
  | 'tunnel_peers4'
  | 'tunnel_peers6'
  | PortSetName
  | VerdictMapName
  // Each egress policy has its own, of what its resolver opened.
  | OpenedSetName;

/** Maps that lead to the chains of policies: what is forwarded, and what is for the host. */
export type VerdictMapName = `${'egress' | 'guarded'}${'' | 4 | 6}`;

/** Sets and maps of the bridge table. */
export type PortSetName =
  | 'policed'
  | 'own_mac'
  | 'own4'
  | 'own6'
  | 'own_target'
  | 'taken4'
  | 'taken6'
  | 'taken_target'
  | 'router'
  | 'router4'
  | 'router6';

/** Addresses one policy has opened: with a port, or with any. */
export type OpenedSetName = `opened${4 | 6}${'' | '_any'}_${string}`;

/** Which of the kernel's tables of our name. */
export type TableFamily = 'inet' | 'bridge';

/** Rules that are written once and stay; what comes and goes are elements of their sets. */
export interface Ruleset {
  readonly family: TableFamily;
  readonly sets: readonly string[];
  readonly chains: Readonly<Record<string, readonly string[]>>;
  /** An empty chain. Its number is raised with every change, so its name tells whether the kernel has these rules. */
  readonly marker: `ruleset_${number}`;
}

const sets: readonly string[] = [
  'set bridges { type ifname; }',
  'set same_bridge { type ifname . ifname; }',
  'set internal { type ifname; }',
  // Versions of IP that this host routes only because a network of ours needs it.
  'set strangers { type nf_proto; }',
  'set nat4 { type ipv4_addr; flags interval; }',
  'set nat6 { type ipv6_addr; flags interval; }',
  'map publish4 { type inet_proto . inet_service : ipv4_addr . inet_service; }',
  'map publish4_on { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }',
  'map publish6 { type inet_proto . inet_service : ipv6_addr . inet_service; }',
  'map publish6_on { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }',
  // VXLAN tunnels of this host, by UDP port and by what their header says, 24 bits: `vxlan vni`, which older nft cannot say.
  'set tunnels { typeof udp dport . @th,96,24; }',
  'set tunnel_peers4 { typeof udp dport . @th,96,24 . ip saddr; }',
  'set tunnel_peers6 { typeof udp dport . @th,96,24 . ip6 saddr; }',
  'map egress { type ifname : verdict; }',
  'map egress4 { type ifname . ipv4_addr : verdict; }',
  'map egress6 { type ifname . ipv6_addr : verdict; }',
  'map guarded { type ifname : verdict; }',
  'map guarded4 { type ifname . ipv4_addr : verdict; }',
  'map guarded6 { type ifname . ipv6_addr : verdict; }',
];

const chains: Readonly<Record<string, readonly string[]>> = {
  // Before everything else.
  guard: [
    'type filter hook prerouting priority raw; policy accept;',
    // A bridge hands frames to the addresses it keeps for itself (IEEE 802.1Q, table 8-1) to the host as from the port, past its
    // own chains and all that is known by the bridge's name. None of them is of IP, and nothing of IP is of a port: ours,
    // whatever way it came, and any other's.
    'iifname "nsv*" drop',
    'iifname "nsx*" drop',
    'ether daddr and ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 drop',
    // Published ports on localhost are for the host itself, but their addresses are translated before the kernel sees that
    // a neighbour sent to 127.0.0.0/8. And route_localnet makes that routable on our bridges: a container could reach the
    // services there (CVE-2020-8558).
    'ip daddr 127.0.0.0/8 fib daddr . iif type != local drop',
    'iifname @bridges jump sender',
    'udp dport . @th,96,24 @tunnels goto tunnel',
  ],
  // A container speaks for its own network only: what seems to come from outside, from another network or from the host would
  // begin a connection whose answers no rule refuses. A bridge is the way back to the subnets of its network alone.
  sender: [
    // Neither is ever routed, and where neighbours have IPv6 among themselves the bridge need not have it.
    'ip6 saddr { ::, fe80::/10 } fib saddr . iif type != local return',
    'fib saddr . iif oif missing drop',
  ],
  // The kernel takes a VXLAN frame from whoever sends it, and sends the answers there.
  tunnel: [
    // To this host, and to its peers, who take for this host's what comes with its address.
    'iifname @bridges drop',
    'fib daddr type != local return',
    'udp dport . @th,96,24 . ip saddr @tunnel_peers4 return',
    'udp dport . @th,96,24 . ip6 saddr @tunnel_peers6 return',
    'drop',
  ],
  prerouting: ['type nat hook prerouting priority dstnat; policy accept;', 'fib daddr type local jump publish'],
  // ::1 cannot leave the host even after DNAT; the userland proxy answers there.
  output: [
    'type nat hook output priority -100; policy accept;',
    'ip6 daddr ::1 return',
    'fib daddr type local jump publish',
  ],
  publish: [
    'dnat ip to ip daddr . meta l4proto . th dport map @publish4_on',
    'dnat ip to meta l4proto . th dport map @publish4',
    'dnat ip6 to ip6 daddr . meta l4proto . th dport map @publish6_on',
    'dnat ip6 to meta l4proto . th dport map @publish6',
  ],
  postrouting: [
    'type nat hook postrouting priority srcnat; policy accept;',
    'ip saddr @nat4 oifname != @bridges masquerade',
    'ip6 saddr @nat6 oifname != @bridges masquerade',
    // Back to where it came from: a container that calls its own published port, and the host's localhost.
    'ct status dnat oifname @bridges ip saddr { 127.0.0.0/8 } masquerade',
    'ct status dnat oifname @bridges ip saddr @nat4 masquerade',
    'ct status dnat oifname @bridges ip6 saddr @nat6 masquerade',
  ],
  forward: [
    'type filter hook forward priority filter; policy accept;',
    // This presumes that who began a connection was who the packet said, or an answer would be let through that answers
    // nothing. The chain `guard` sees to it for all bridges, and that of pinned ports for what is told apart on one.
    'ct state established,related accept',
    'meta nfproto @strangers iifname != @bridges oifname != @bridges jump strangers',
    // A container's own policy, then that of its network: what both let through.
    'iifname . ip saddr vmap @egress4',
    'iifname . ip6 saddr vmap @egress6',
    'iifname vmap @egress',
    'iifname . oifname @same_bridge accept',
    'iifname @internal drop',
    'oifname @internal drop',
    'ct status dnat accept',
    // From another network, or from outside around a published port.
    'oifname @bridges drop',
  ],
  // A host that did not route did not lead from one of its networks into another. What other programs connect containers and
  // virtual machines with is theirs to keep apart: they begin after us, and find that it routes.
  strangers: [
    'meta iifkind { "bridge", "veth" } return',
    'meta oifkind { "bridge", "veth" } return',
    'drop comment "it routes for containers only; or else: nft flush set inet ns strangers"',
  ],
  // What those with an egress policy may do to the host itself.
  input: [
    'type filter hook input priority filter; policy accept;',
    // As for what is forwarded.
    'ct state established,related accept',
    'iifname . ip saddr vmap @guarded4',
    'iifname . ip6 saddr vmap @guarded6',
    'iifname vmap @guarded',
  ],
};

/** Networks, their way out and their published ports. */
export const networkRuleset: Ruleset = { family: 'inet', sets, chains, marker: 'ruleset_6' };

/**
 * A ruleset as nft reads it, one transaction. Sets and chains that exist are kept with their elements; the rules are written anew.
 * Where the table is missing, nothing happens.
 */
export function rulesetText({ family, sets, chains, marker }: Ruleset): string {
  const chainLine = (name: string, rules: readonly string[]): string => {
    const hook = rules.find(isHook);
    return `add chain ${family} ${TABLE} ${name}${hook ? ` { ${hook} }` : ''}`;
  };
  const setLine = (declaration: string): string => {
    const [kind, name, ...body] = declaration.split(' ');
    return `add ${kind} ${family} ${TABLE} ${name} ${body.join(' ')}`;
  };
  const named = Object.entries(chains);
  return [
    ...sets.map(setLine),
    ...named.flatMap(([name, rules]) => [chainLine(name, rules), `flush chain ${family} ${TABLE} ${name}`]),
    ...named.flatMap(([name, rules]) =>
      rules.filter((line) => !isHook(line)).map((rule) => `add rule ${family} ${TABLE} ${name} ${rule}`),
    ),
    chainLine(marker, []),
    '',
  ].join('\n');
}

function isHook(line: string): boolean {
  return line.startsWith('type ');
}
