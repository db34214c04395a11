import { existsSync } from 'node:fs';
import { SpecError } from '@ns/libc';
import type { EgressOptions } from '../egress/egress-rule.ts';
import { checkEgress } from '../egress/policy-rules.ts';
import type { FirewallNetwork } from '../firewall/firewall.ts';
import { AddressPool } from '../ipam/address-pool.ts';
import { parseSubnet } from '../ipam/subnet.ts';
import { claimSubnet } from '../ipam/subnet-claims.ts';
import type { InNetns } from '../namespace-reference.ts';
import type { Entrust } from '../remains.ts';
import { type AddressPlan, digest, type NetworkRecord } from './network-state.ts';

const IPV6_MTU = 1280;

/** How to make a bridge network. */
export interface BridgeNetworkOptions extends InNetns {
  readonly name: string;
  /** Default: a free one of the default pools. */
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
  const {
    name,
    netns,
    gateway,
    range,
    auxiliaryAddresses,
    icc = true,
    internal = false,
    masquerade = true,
    mtu = 1500,
  } = options;
  if (options.egress) checkEgress(options.egress);
  const ipv6 = options.ipv6 ?? (mtu >= IPV6_MTU && existsSync('/proc/net/if_inet6') ? 'unique-local' : 'none');
  if (ipv6 !== 'none' && mtu < IPV6_MTU)
    throw new SpecError('mtu', `${IPV6_MTU} or more, which IPv6 needs (RFC 8200), or ipv6: 'none' with it`, mtu);
  const four = await claimSubnet({ name, subnet: options.subnet, family: 'inet', netns, stateRoot: root });
  const subnets: AddressPlan[] = [{ subnet: four.text, gateway, range, auxiliaryAddresses }];
  if (ipv6 !== 'none') {
    const wanted = ipv6 === 'unique-local' ? undefined : ipv6.subnet;
    if (wanted !== undefined && parseSubnet(wanted, 'ipv6.subnet').family !== 'inet6')
      throw new SpecError('ipv6.subnet', 'an IPv6 subnet', wanted);
    const six = await claimSubnet({ name, subnet: wanted, family: 'inet6', netns, stateRoot: root });
    subnets.push({ subnet: six.text, gateway: ipv6 === 'unique-local' ? undefined : ipv6.gateway });
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
