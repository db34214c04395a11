import { existsSync } from 'node:fs';
import { SpecError } from '@ns/libc';
import type { EgressOptions } from '../egress/egress-rule.ts';
import { checkEgress } from '../egress/policy-rules.ts';
import type { FirewallNetwork } from '../firewall/firewall.ts';
import { AddressPool } from '../ipam/address-pool.ts';
import { parseSubnet, type Subnet } from '../ipam/subnet.ts';
import { claimSubnet } from '../ipam/subnet-claims.ts';
import type { InNetns } from '../namespace-reference.ts';
import type { Entrust } from '../remains.ts';
import { type AddressPlan, digest, type NetworkRecord } from './network-state.ts';

const IPV6_MTU = 1280;

/** How to make a bridge network. */
export interface BridgeNetworkOptions extends InNetns {
  readonly name: string;
  /** IPv4, with IPv6 beside it as `ipv6` says; an IPv6 subnet is the only one. Default: a free one of the default pools. */
  readonly subnet?: string;
  readonly gateway?: string;
  readonly range?: string;
  readonly auxiliaryAddresses?: Readonly<Record<string, string>>;
  /** Default `unique-local` where the host has IPv6 and `mtu` is enough for it: a random /64 of RFC 4193. */
  readonly ipv6?: 'none' | 'unique-local' | { readonly subnet: string; readonly gateway?: string };
  /** No way out, no way in. Default false. */
  readonly internal?: boolean;
  /** May containers of the network talk to each other? Default true. */
  readonly icc?: boolean;
  /** Default true. */
  readonly masquerade?: boolean;
  /** Bytes, default 1500. IPv6 needs 1280. */
  readonly mtu?: number;
  /** What containers may connect to; left out, everything. */
  readonly egress?: EgressOptions;
  /** Resolvers for names outside. Default: the host's. */
  readonly upstreams?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  /** Default: {@link stateRoot}. */
  readonly stateRoot?: string;
  /**
   * The network is to die with this process: it is told what that would leave, before it is made. What is in the kernel is told of
   * in this process's own network namespace only. Containers on it see to their places by {@link ConnectOptions.entrust}.
   */
  readonly entrust?: Entrust;
}

/** Decides what a network will be, and reserves its subnets. */
export async function planNetwork(options: BridgeNetworkOptions, root: string): Promise<NetworkRecord> {
  const { name, netns, icc = true, internal = false, masquerade = true, mtu = 1500 } = options;
  if (options.egress) checkEgress(options.egress);
  const subnets: AddressPlan[] = [];
  for (const { family, ...wanted } of wantedSubnets(options)) {
    const { text } = await claimSubnet({ name, subnet: wanted.subnet, family, netns, stateRoot: root });
    subnets.push({ ...wanted, subnet: text });
  }
  // Another state root may have a network of this name.
  const bridge = `nsb${digest(root, name).slice(0, 12)}`;
  return {
    name,
    bridge,
    subnets,
    internal,
    icc,
    masquerade,
    mtu,
    egress: options.egress,
    created: Date.now(),
    labels: options.labels ?? {},
  };
}

/** A subnet as it was asked for; left out, a free one of its family. */
type WantedSubnet = Omit<AddressPlan, 'subnet'> & {
  readonly subnet: string | undefined;
  readonly family: Subnet['family'];
};

/** IPv4, and IPv6 beside it unless that is unwanted or impossible. IPv6 alone where `subnet` is of that. */
function wantedSubnets(options: BridgeNetworkOptions): WantedSubnet[] {
  const { subnet, gateway, range, auxiliaryAddresses, mtu = 1500 } = options;
  const { family } = subnet === undefined ? { family: 'inet' as const } : parseSubnet(subnet);
  const first = { subnet, gateway, range, auxiliaryAddresses, family };
  if (family === 'inet6') {
    checkAloneWith(options.ipv6, subnet);
    if (mtu < IPV6_MTU) throw new SpecError('mtu', `${IPV6_MTU} or more, which IPv6 needs (RFC 8200)`, mtu);
    return [first];
  }
  const ipv6 = options.ipv6 ?? (mtu >= IPV6_MTU && existsSync('/proc/net/if_inet6') ? 'unique-local' : 'none');
  if (ipv6 === 'none') return [first];
  if (mtu < IPV6_MTU)
    throw new SpecError('mtu', `${IPV6_MTU} or more, which IPv6 needs (RFC 8200), or ipv6: 'none' with it`, mtu);
  if (ipv6 === 'unique-local') return [first, { subnet: undefined, family: 'inet6' }];
  if (parseSubnet(ipv6.subnet, 'ipv6.subnet').family !== 'inet6')
    throw new SpecError('ipv6.subnet', 'an IPv6 subnet', ipv6.subnet);
  return [first, { subnet: ipv6.subnet, gateway: ipv6.gateway, family: 'inet6' }];
}

/** A network has one subnet of IPv6 at most. */
function checkAloneWith(ipv6: BridgeNetworkOptions['ipv6'], subnet: string | undefined): void {
  if (ipv6 === undefined || ipv6 === 'unique-local') return;
  const reason = ipv6 === 'none' ? 'there is to be no IPv6' : `'ipv6' has the IPv6 subnet ${ipv6.subnet}`;
  throw new SpecError('subnet', `an IPv4 subnet, as ${reason}`, subnet);
}

/** The pool of one subnet of a network. */
export function openPool(
  name: string,
  { subnet, gateway, range, auxiliaryAddresses }: AddressPlan,
  root: string,
): AddressPool {
  return AddressPool.open({
    name,
    subnet,
    stateRoot: root,
    ...(gateway === undefined ? {} : { gateway }),
    ...(range === undefined ? {} : { range }),
    ...(auxiliaryAddresses === undefined ? {} : { auxiliaryAddresses }),
  });
}

/** What the firewall has to know about a network. */
export function firewallNetwork({ bridge, subnets, internal, icc, masquerade }: NetworkRecord): FirewallNetwork {
  return { bridge, subnets: subnets.map((plan) => plan.subnet), internal, icc, masquerade };
}
