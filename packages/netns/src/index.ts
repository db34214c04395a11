export type { Address, AddressOptions } from './address.ts';
export * as address from './address.ts';
export { formatResolvConf, hostResolvers, parseNameservers, type ResolvConf } from './dns/host-resolvers.ts';
export { jointPolicy, type NamePolicy } from './dns/name-policy.ts';
export { canonicalName, NameTable } from './dns/name-table.ts';
export { Resolver, type ResolverOptions } from './dns/resolver.ts';
export { EgressPolicy } from './egress/egress-policy.ts';
export {
  closedSubnets,
  type EgressOptions,
  type NameRule,
  type PortLimit,
  parseEgressRule,
  type SubnetRule,
} from './egress/egress-rule.ts';
export type { EgressPlace } from './egress/egress-scope.ts';
export type { ResolvedAddress } from './egress/opened-addresses.ts';
export type { RefusedConnection, RefusedOptions } from './egress/refused-connections.ts';
export {
  AddressInUseError,
  AddressPoolExhaustedError,
  NameServerTakenError,
  NetworkExistsError,
  NetworkNotFoundError,
  NftError,
  NoFreeSubnetError,
  PortInUseError,
  SubnetOverlapError,
} from './errors.ts';
export { type LinkEvent, linkEvents } from './events.ts';
export { Firewall, type FirewallNetwork, type PublishedPort } from './firewall/firewall.ts';
export { type ForwardingObstacle, findForwardingObstacles } from './firewall/obstacles.ts';
export { closePort, linkLocalAddress, type PinnedPort, pinPort, unpinPort } from './firewall/port-pins.ts';
export type { Protocol } from './firewall/set-elements.ts';
export { type GuardedTunnel, guardTunnel, unguardTunnel } from './firewall/tunnels.ts';
export {
  AddressPool,
  type AddressPoolOptions,
  type AllocateOptions,
  type Lease,
  type LeaseLink,
} from './ipam/address-pool.ts';
export { addressNumber, addressText, contains, hostRange, overlaps, parseSubnet, type Subnet } from './ipam/subnet.ts';
export {
  type ClaimOptions,
  claimSubnet,
  defaultPools,
  listClaims,
  releaseSubnets,
  type SubnetClaim,
  type SubnetInUse,
  subnetsOfHost,
} from './ipam/subnet-claims.ts';
export type {
  BridgeOptions,
  BridgePortOptions,
  Link,
  LinkReference,
  NewLink,
  NewUpperLink,
  NewVxlan,
  OperState,
  VethPeer,
} from './link/index.ts';
export * as link from './link/index.ts';
export type { InNetns, NetnsReference } from './namespace-reference.ts';
export type { FdbEntry, FdbSpec, Neighbour, NeighbourSpec, NeighbourState } from './neighbour.ts';
export * as neighbour from './neighbour.ts';
export { NetNamespace, type NetNamespaceOptions } from './net-namespace.ts';
export { NetNamespacePool } from './net-namespace-pool.ts';
export { BridgeNetwork } from './network/bridge-network.ts';
export type { ConnectOptions } from './network/network-endpoints.ts';
export type { BridgeNetworkOptions } from './network/network-plan.ts';
export type { AddressPlan, Endpoint, NetworkRecord } from './network/network-state.ts';
export { macFor } from './network/plug-container.ts';
export { type PortSpec, parsePortSpec } from './ports/port-spec.ts';
export {
  type HostPort,
  type PortHolder,
  type PublishedPorts,
  type PublishOptions,
  publishPorts,
} from './ports/publish-ports.ts';
export type { Entrust, Remains } from './remains.ts';
export {
  connectUserNetwork,
  type ForwardedPort,
  installedUserNetworks,
  type UserNetwork,
  type UserNetworkOptions,
  type UserNetworkProgram,
} from './rootless/user-network.ts';
export type { Route, RouteKind, RouteSpec } from './route.ts';
export * as route from './route.ts';
export type { Rule, RuleSpec } from './rule.ts';
export * as rule from './rule.ts';
export type { Impairment, Qdisc, RateLimit } from './shaping.ts';
export * as shaping from './shaping.ts';
export { stateRoot } from './state-directory.ts';
export * as sysctl from './sysctl.ts';
