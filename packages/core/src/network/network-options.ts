import { SpecError, stateRoot } from '@ns/libc';
import type { BridgeNetworkOptions, EgressOptions } from '@ns/netns';
import { withoutUndefined } from '../without-undefined.ts';

/** How to make a {@link Network}. */
export interface NetworkOptions {
  /** Letters, digits, `_`, `.` and `-`; not `none`, `host` or `user`. */
  readonly name: string;
  /**
   * `bridge`: a network of this host with the way out through it. `vxlan`: the same across hosts, a tunnel between their
   * bridges; names are found on their own host. `macvlan`, `ipvlan`: containers are machines of the network that `parent` is in, and
   * publish no ports. Default `bridge`. `SpecError` for options of another driver.
   */
  readonly driver?: 'bridge' | 'macvlan' | 'ipvlan' | 'vxlan';
  /**
   * `'10.9.0.0/24'`, beside which `ipv6` says what there is of IPv6. An IPv6 subnet makes a network of IPv6 alone; then `gateway`,
   * `ipRange` and `auxAddresses` are of IPv6, too. Default: an IPv4 subnet that no network and no route of the host has. `macvlan` and
   * `ipvlan` must be told.
   */
  readonly subnet?: string;
  /** Default: the first address of the subnet. */
  readonly gateway?: string;
  /** Hand out addresses of this part of the subnet only. */
  readonly ipRange?: string;
  /** Addresses that are never handed out, by what they are for. */
  readonly auxAddresses?: Readonly<Record<string, string>>;
  /** No way out and no way in. Default false. */
  readonly internal?: boolean;
  /** May its containers talk to each other? Default true. */
  readonly icc?: boolean;
  /** Do packets that leave have the address of the host? Default true. */
  readonly masquerade?: boolean;
  /** Bytes, default 1500; 1450 for `vxlan`. */
  readonly mtu?: number;
  /**
   * Beside IPv4: a random /64 of RFC 4193, none, or this one. Default true where the host has IPv6; false for `macvlan` and `ipvlan`.
   * `SpecError` for none or another one when `subnet` is an IPv6 subnet.
   */
  readonly ipv6?: boolean | { readonly subnet: string; readonly gateway?: string };
  /** What its containers may connect to. Default: everything. */
  readonly egress?: EgressOptions;
  /** Name servers for names outside. Default: the host's. */
  readonly dns?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  /** `macvlan`, `ipvlan`: the link of the host that containers share. `vxlan`: the one the tunnel leaves by. */
  readonly parent?: string;
  /** `macvlan`: bridge (default), private, vepa, passthru. `ipvlan`: l2 (default), l3, l3s. */
  readonly mode?: string;
  /** `vxlan`: number of the network, the same on all its hosts. */
  readonly vni?: number;
  /** `vxlan`: address of this host, by which the others know it as a peer. */
  readonly local?: string;
  /** `vxlan`: addresses of the other hosts. Frames of nobody else are taken. */
  readonly peers?: readonly string[];
  /** `vxlan`: UDP port, default 4789. */
  readonly port?: number;
}

/** Options that the network package has under another name. */
const names: Readonly<Record<string, string>> = {
  range: 'ipRange',
  auxiliaryAddresses: 'auxAddresses',
  upstreams: 'dns',
};

/** What the network package says of one of its options, of the one that the user has written. */
export function asGiven(error: unknown): unknown {
  if (!(error instanceof SpecError)) return error;
  return error.at(error.field.replace(/^\w+/, (name) => names[name] ?? name));
}

/** The same as the network package has it. */
export function bridgeOptions(options: NetworkOptions): BridgeNetworkOptions {
  const { name, subnet, gateway, ipRange, auxAddresses, internal, icc, masquerade, mtu, ipv6, egress, dns, labels } =
    options;
  const given = {
    subnet,
    gateway,
    range: ipRange,
    auxiliaryAddresses: auxAddresses,
    internal,
    icc,
    masquerade,
    mtu,
    ipv6: ipv6 === true ? ('unique-local' as const) : ipv6 === false ? ('none' as const) : ipv6,
    egress,
    upstreams: dns,
    labels,
  };
  return { name, stateRoot: stateRoot(), ...withoutUndefined(given) };
}
