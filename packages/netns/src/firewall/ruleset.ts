/** Name of our table. Nothing outside it is ever touched. */
export const TABLE = 'ns';

/** Sets and maps that are filled while networks and containers come and go. */
export type SetName =
  | 'bridges'
  | 'same_bridge'
  | 'internal'
  | 'nat4'
  | 'nat6'
  | 'publish4'
  | 'publish4_on'
  | 'publish6'
  | 'publish6_on'
  | 'opened4'
  | 'opened4_any'
  | 'opened6'
  | 'opened6_any';

const sets: readonly string[] = [
  'set bridges { type ifname; }',
  'set same_bridge { type ifname . ifname; }',
  'set internal { type ifname; }',
  'set nat4 { type ipv4_addr; flags interval; }',
  'set nat6 { type ipv6_addr; flags interval; }',
  'map publish4 { type inet_proto . inet_service : ipv4_addr . inet_service; }',
  'map publish4_on { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }',
  'map publish6 { type inet_proto . inet_service : ipv6_addr . inet_service; }',
  'map publish6_on { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }',
  'set opened4 { type ifname . ipv4_addr . inet_proto . inet_service; flags timeout; }',
  'set opened4_any { type ifname . ipv4_addr; flags timeout; }',
  'set opened6 { type ifname . ipv6_addr . inet_proto . inet_service; flags timeout; }',
  'set opened6_any { type ifname . ipv6_addr; flags timeout; }',
  'map egress { type ifname : verdict; }',
  'map guarded { type ifname : verdict; }',
];

const chains: Readonly<Record<string, readonly string[]>> = {
  // Before everything else: route_localnet makes the host's own 127.0.0.0/8 routable on our bridges, so that published
  // ports work on localhost; a container could reach the services there otherwise (CVE-2020-8558).
  guard: ['type filter hook prerouting priority raw; policy accept;', 'iifname @bridges ip daddr 127.0.0.0/8 drop'],
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
    'ct state established,related accept',
    'iifname vmap @egress',
    'iifname . oifname @same_bridge accept',
    'iifname @internal drop',
    'oifname @internal drop',
    'ct status dnat accept',
    // From another network, or from outside around a published port.
    'oifname @bridges drop',
  ],
  // What networks with an egress policy may do to the host itself.
  input: [
    'type filter hook input priority filter; policy accept;',
    'ct state established,related accept',
    'iifname vmap @guarded',
  ],
};

// Raised with every change above: its name tells whether the kernel has these rules.
export const MARKER_CHAIN = 'ruleset_1';

/**
 * The whole ruleset as nft reads it, one transaction. Sets and chains that exist are kept with their elements; the rules are written anew.
 */
export function rulesetText(): string {
  const lines = [`add table inet ${TABLE}`];
  for (const set of sets) lines.push(inTable(set));
  for (const [name, rules] of Object.entries(chains))
    lines.push(addChain(name, rules), `flush chain inet ${TABLE} ${name}`);
  for (const [name, rules] of Object.entries(chains)) {
    for (const rule of rules.filter((line) => !line.startsWith('type ')))
      lines.push(`add rule inet ${TABLE} ${name} ${rule}`);
  }
  lines.push(addChain(MARKER_CHAIN, []));
  return `${lines.join('\n')}\n`;
}

function inTable(declaration: string): string {
  const [kind, name, ...body] = declaration.split(' ');
  return `add ${kind} inet ${TABLE} ${name} ${body.join(' ')}`;
}

function addChain(name: string, rules: readonly string[]): string {
  const hook = rules.find((line) => line.startsWith('type '));
  return `add chain inet ${TABLE} ${name}${hook ? ` { ${hook} }` : ''}`;
}
