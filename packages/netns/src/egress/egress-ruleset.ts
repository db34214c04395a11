import { discoveryTypes } from '../firewall/port-ruleset.ts';
import { type OpenedSetName, TABLE } from '../firewall/ruleset.ts';
import { closedSubnets, type SubnetRule } from './egress-rule.ts';
import type { EgressScope } from './egress-scope.ts';
import type { PolicyRules } from './policy-rules.ts';

/* The rules of one policy, as nft reads them. */

/** What a policy's rules are made from. */
export interface EgressRules {
  readonly scope: EgressScope;
  readonly logPrefix: string;
  readonly logGroup: number;
  readonly rules: Pick<PolicyRules, 'otherwise' | 'subnets'>;
}

/** Set of what a policy's resolver has opened. */
export function openedSet({ id }: EgressScope, version: 4 | 6, ports: 'port' | 'any'): OpenedSetName {
  return `opened${version}${ports === 'any' ? '_any' : ''}_${id}`;
}

/** The chains of a policy, each before those that it leads to. */
export function chainNames({ id }: EgressScope): { egress: string; guard: string; refuse: string } {
  return { egress: `egress_${id}`, guard: `guard_${id}`, refuse: `refuse_${id}` };
}

/** All sets of what a policy's resolver has opened. */
export function openedSets(scope: EgressScope): { readonly name: OpenedSetName; readonly type: string }[] {
  return ([4, 6] as const).flatMap((version) => [
    { name: openedSet(scope, version, 'port'), type: `ipv${version}_addr . inet_proto . inet_service` },
    { name: openedSet(scope, version, 'any'), type: `ipv${version}_addr` },
  ]);
}

/**
 * Puts a policy in force that has begun, or replaces its rules; what was opened is closed. Where the chain of refusal is missing,
 * nothing happens.
 */
export function policyScript({ scope, logPrefix, logGroup, rules: { otherwise, subnets } }: EgressRules): string {
  const { refuse, egress, guard } = chainNames(scope);
  const opened = (version: 4 | 6, ports: 'port' | 'any') => `@${openedSet(scope, version, ports)} return`;
  const allowed = subnets.map((rule) => `${destination(rule.subnet)} ${limit(rule)}return`);
  const chains: Readonly<Record<string, readonly string[]>> = {
    [refuse]: [
      `limit rate 1000/second log prefix "${logPrefix}" group ${logGroup} snaplen 128`,
      'meta l4proto tcp reject with tcp reset',
      'reject with icmpx admin-prohibited',
    ],
    [egress]: [
      scope.exempt.rule,
      `ip daddr . meta l4proto . th dport ${opened(4, 'port')}`,
      `ip daddr ${opened(4, 'any')}`,
      `ip6 daddr . meta l4proto . th dport ${opened(6, 'port')}`,
      `ip6 daddr ${opened(6, 'any')}`,
      ...allowed,
      ...closedSubnets.map((subnet) => `${destination(subnet)} goto ${refuse}`),
      otherwise === 'allow' ? 'return' : `goto ${refuse}`,
    ],
    [guard]: [
      // The gateway of this bridge, not another network's: its resolver would pass on any name.
      'fib daddr . iif type local meta l4proto { tcp, udp } th dport 53 return',
      'icmp type echo-request return',
      `icmpv6 type { echo-request, ${discoveryTypes} } return`,
      ...allowed,
      `goto ${refuse}`,
    ],
  };
  const names = Object.keys(chains);
  return [
    ...openedSets(scope).flatMap(({ name, type }) => [
      `add set inet ${TABLE} ${name} { type ${type}; flags timeout; }`,
      `flush set inet ${TABLE} ${name}`,
    ]),
    `flush chain inet ${TABLE} ${refuse}`,
    ...[egress, guard].flatMap((name) => [`add chain inet ${TABLE} ${name}`, `flush chain inet ${TABLE} ${name}`]),
    ...names.flatMap((name) => chains[name]!.map((rule) => `add rule inet ${TABLE} ${name} ${rule}`)),
    ...verdicts(scope),
    '',
  ].join('\n');
}

function verdicts(scope: EgressScope): string[] {
  const { egress, guard } = chainNames(scope);
  return scope.keys.flatMap(({ forward, input, text }) => [
    `add element inet ${TABLE} ${forward} { ${text} : jump ${egress} }`,
    `add element inet ${TABLE} ${input} { ${text} : jump ${guard} }`,
  ]);
}

function destination(subnet: SubnetRule['subnet']): string {
  return `${subnet.family === 'inet' ? 'ip' : 'ip6'} daddr ${subnet.text}`;
}

function limit({ port, protocol }: SubnetRule): string {
  if (port !== undefined)
    return protocol === undefined ? `meta l4proto { tcp, udp } th dport ${port} ` : `${protocol} dport ${port} `;
  return protocol === undefined ? '' : `meta l4proto ${protocol} `;
}
