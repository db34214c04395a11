import { SpecError } from '@ns/libc';
import type { Protocol } from '../firewall/set-elements.ts';
import { parseSubnet, type Subnet } from '../ipam/subnet.ts';

/** What a network may connect to. */
export interface EgressOptions {
  /** What happens to the rest. Default `deny`. */
  readonly default?: 'deny' | 'allow';
  /**
   * `10.1.0.0/16`, `192.0.2.1:443`, `[2001:db8::/32]:443`, `api.example.com:443`, `*.example.com` (subdomains of any depth, not the domain itself);
   * a protocol may follow: `/tcp`, `/udp`.
   */
  readonly allow?: readonly string[];
}

/** Port and protocol a rule is limited to. */
export interface PortLimit {
  readonly port: number | undefined;
  readonly protocol: Protocol | undefined;
}

/** A rule for addresses: the kernel checks it alone. */
export interface SubnetRule extends PortLimit {
  readonly kind: 'subnet';
  readonly subnet: Subnet;
}

/** A rule for names: the resolver opens the addresses it answers. */
export interface NameRule extends PortLimit {
  readonly kind: 'name';
  /** Lower case, without a dot at the end. */
  readonly name: string;
  /** `*.`: every name below it instead. */
  readonly subdomains: boolean;
}

const LABEL = /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/;
const SHAPE = 'an address, subnet or domain name, with :port and /tcp or /udp if wanted';

/**
 * Reads one entry of `allow`.
 *
 * @throws SpecError
 */
export function parseEgressRule(text: string, field = 'egress.allow'): SubnetRule | NameRule {
  const fail = (): never => {
    throw new SpecError(field, SHAPE, text);
  };
  const suffix = /\/(tcp|udp)$/.exec(text);
  const protocol = suffix?.[1] as Protocol | undefined;
  const rest = suffix ? text.slice(0, suffix.index) : text;
  const { target, port } = splitPort(rest) ?? fail();
  const subnet = subnetOf(target, field);
  if (subnet) return { kind: 'subnet', subnet, port, protocol };
  const lower = target.toLowerCase().replace(/\.$/, '');
  const subdomains = lower.startsWith('*.');
  const name = subdomains ? lower.slice(2) : lower;
  const labels = name.split('.');
  // Four numbers are a mistyped address, never a name.
  if (name.length > 253 || !labels.every((label) => LABEL.test(label)) || /^[\d.]+$/.test(name)) fail();
  return { kind: 'name', name, subdomains, port, protocol };
}

function splitPort(text: string): { target: string; port: number | undefined } | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text);
  if (!match)
    return /^[0-9a-f:.]+(\/\d+)?$/i.test(text) && text.includes(':') ? { target: text, port: undefined } : undefined;
  const port = match[3] === undefined ? undefined : Number(match[3]);
  if (port !== undefined && (port < 1 || port > 65535)) return undefined;
  return { target: (match[1] ?? match[2])!, port };
}

function subnetOf(target: string, field: string): Subnet | undefined {
  if (!/^[\d.]+(\/\d+)?$/.test(target) && !target.includes(':')) return undefined;
  if (target.includes('/')) return parseSubnet(target, field);
  return parseSubnet(`${target}/${target.includes(':') ? 128 : 32}`, field);
}

/** Does a rule speak of this name? */
export function matchesName(rule: NameRule, name: string): boolean {
  return rule.subdomains ? name.endsWith(`.${rule.name}`) : name === rule.name;
}

/**
 * What no policy opens unless `allow` names it as an address: the host's own networks, other private ones, cloud metadata
 * services, and everything that is not one machine on the Internet.
 */
export const closedSubnets: readonly Subnet[] = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  // Azure's WireServer, at a public address: certificates and settings of the virtual machine. Metadata services of the others are
  // in subnets that are closed anyway: 169.254.0.0/16, 100.64.0.0/10 (Alibaba), 192.0.0.0/24 (Oracle), fc00::/7 (AWS).
  '168.63.129.16/32',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '224.0.0.0/3',
  '::/127',
  '::ffff:0:0/96',
  // NAT64 leads to IPv4 addresses, the closed ones among them.
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '2002::/16',
  'fc00::/7',
  'fe80::/10',
  'ff00::/8',
].map((text) => parseSubnet(text));
