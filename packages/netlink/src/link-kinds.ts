import { be16, binary, bool8, ipAddress, macAddress, u8, u16, u32, type ValueCodec } from './attribute-value.ts';
import { type AttributeTable, nested, type RawAttribute, type WithUnknown } from './attributes.ts';
import {
  IFLA_BR,
  IFLA_BRPORT,
  IFLA_IPVLAN,
  IFLA_MACVLAN,
  IFLA_TUN,
  IFLA_VLAN,
  IFLA_VXLAN,
  VETH_INFO,
} from './constants/if-link.ts';
import { type LinkPayload, linkPayload } from './link-message.ts';

/** A veth. The peer is a link message of its own: name, MTU, address and namespace of the other end. */
export interface VethData extends WithUnknown {
  peer?: LinkPayload;
}

/** A bridge. Times are in USER_HZ: hundredths of a second. */
export interface BridgeData extends WithUnknown {
  forwardDelay?: number;
  helloTime?: number;
  maxAge?: number;
  ageingTime?: number;
  /** 0 off, 1 kernel, 2 user space */
  stpState?: number;
  priority?: number;
  /** Needs CONFIG_BRIDGE_VLAN_FILTERING. */
  vlanFiltering?: boolean;
  vlanProtocol?: number;
  groupForwardMask?: number;
  rootId?: Buffer;
  bridgeId?: Buffer;
  groupAddress?: string;
  multicastSnooping?: boolean;
  multicastQuerier?: boolean;
  nfCallIptables?: boolean;
  nfCallIp6tables?: boolean;
  nfCallArptables?: boolean;
  vlanDefaultPvid?: number;
}

/** A port of a bridge. */
export interface BridgePortData extends WithUnknown {
  /** 0 disabled, 1 listening, 2 learning, 3 forwarding, 4 blocking */
  state?: number;
  priority?: number;
  cost?: number;
  /** Frames may leave through the port they came in by. */
  hairpin?: boolean;
  guard?: boolean;
  rootBlock?: boolean;
  fastLeave?: boolean;
  learning?: boolean;
  unicastFlood?: boolean;
  proxyArp?: boolean;
  multicastFlood?: boolean;
  broadcastFlood?: boolean;
  neighbourSuppress?: boolean;
  /** Isolated ports reach only ports that are not. Since 4.18. */
  isolated?: boolean;
  locked?: boolean;
}

/** A macvlan or macvtap. */
export interface MacvlanData extends WithUnknown {
  /** 1 private, 2 vepa, 4 bridge, 8 passthru, 16 source */
  mode?: number;
  flags?: number;
}

/** An ipvlan or ipvtap. */
export interface IpvlanData extends WithUnknown {
  /** 0 l2, 1 l3, 2 l3s */
  mode?: number;
  /** 0 bridge, 1 private, 2 vepa */
  flags?: number;
}

/** A VLAN on top of a link. */
export interface VlanData extends WithUnknown {
  id?: number;
  /** Ethertype: 0x8100 802.1Q, 0x88a8 802.1ad */
  protocol?: number;
}

/** A VXLAN tunnel end. */
export interface VxlanData extends WithUnknown {
  id?: number;
  group?: string;
  link?: number;
  local?: string;
  ttl?: number;
  tos?: number;
  learning?: boolean;
  ageing?: number;
  limit?: number;
  proxy?: boolean;
  rsc?: boolean;
  l2miss?: boolean;
  l3miss?: boolean;
  /** UDP port of the other ends. */
  port?: number;
  group6?: string;
  local6?: string;
  udpChecksum?: boolean;
  collectMetadata?: boolean;
}

/** A tun or tap, as the kernel reports it. */
export interface TunData extends WithUnknown {
  owner?: number;
  group?: number;
  /** 1 tun, 2 tap */
  type?: number;
  packetInfo?: boolean;
  vnetHeader?: boolean;
  persist?: boolean;
  multiQueue?: boolean;
}

const vethPeer: ValueCodec<LinkPayload> = {
  // The kernel parses the peer as a plain blob: it predates NLA_F_NESTED and iproute2 does not set it either.
  write: (out, value) => linkPayload().write(out, value),
  read: (bytes) => linkPayload().decode(bytes),
};

const veth: AttributeTable<VethData> = { peer: [VETH_INFO.PEER, vethPeer] };

const bridge: AttributeTable<BridgeData> = {
  forwardDelay: [IFLA_BR.FORWARD_DELAY, u32],
  helloTime: [IFLA_BR.HELLO_TIME, u32],
  maxAge: [IFLA_BR.MAX_AGE, u32],
  ageingTime: [IFLA_BR.AGEING_TIME, u32],
  stpState: [IFLA_BR.STP_STATE, u32],
  priority: [IFLA_BR.PRIORITY, u16],
  vlanFiltering: [IFLA_BR.VLAN_FILTERING, bool8],
  vlanProtocol: [IFLA_BR.VLAN_PROTOCOL, be16],
  groupForwardMask: [IFLA_BR.GROUP_FWD_MASK, u16],
  rootId: [IFLA_BR.ROOT_ID, binary],
  bridgeId: [IFLA_BR.BRIDGE_ID, binary],
  groupAddress: [IFLA_BR.GROUP_ADDR, macAddress],
  multicastSnooping: [IFLA_BR.MCAST_SNOOPING, bool8],
  multicastQuerier: [IFLA_BR.MCAST_QUERIER, bool8],
  nfCallIptables: [IFLA_BR.NF_CALL_IPTABLES, bool8],
  nfCallIp6tables: [IFLA_BR.NF_CALL_IP6TABLES, bool8],
  nfCallArptables: [IFLA_BR.NF_CALL_ARPTABLES, bool8],
  vlanDefaultPvid: [IFLA_BR.VLAN_DEFAULT_PVID, u16],
};

const bridgePort: AttributeTable<BridgePortData> = {
  state: [IFLA_BRPORT.STATE, u8],
  priority: [IFLA_BRPORT.PRIORITY, u16],
  cost: [IFLA_BRPORT.COST, u32],
  hairpin: [IFLA_BRPORT.MODE, bool8],
  guard: [IFLA_BRPORT.GUARD, bool8],
  rootBlock: [IFLA_BRPORT.PROTECT, bool8],
  fastLeave: [IFLA_BRPORT.FAST_LEAVE, bool8],
  learning: [IFLA_BRPORT.LEARNING, bool8],
  unicastFlood: [IFLA_BRPORT.UNICAST_FLOOD, bool8],
  proxyArp: [IFLA_BRPORT.PROXYARP, bool8],
  multicastFlood: [IFLA_BRPORT.MCAST_FLOOD, bool8],
  broadcastFlood: [IFLA_BRPORT.BCAST_FLOOD, bool8],
  neighbourSuppress: [IFLA_BRPORT.NEIGH_SUPPRESS, bool8],
  isolated: [IFLA_BRPORT.ISOLATED, bool8],
  locked: [IFLA_BRPORT.LOCKED, bool8],
};

const macvlan: AttributeTable<MacvlanData> = { mode: [IFLA_MACVLAN.MODE, u32], flags: [IFLA_MACVLAN.FLAGS, u16] };

const ipvlan: AttributeTable<IpvlanData> = { mode: [IFLA_IPVLAN.MODE, u16], flags: [IFLA_IPVLAN.FLAGS, u16] };

const vlan: AttributeTable<VlanData> = { id: [IFLA_VLAN.ID, u16], protocol: [IFLA_VLAN.PROTOCOL, be16] };

const vxlan: AttributeTable<VxlanData> = {
  id: [IFLA_VXLAN.ID, u32],
  group: [IFLA_VXLAN.GROUP, ipAddress],
  link: [IFLA_VXLAN.LINK, u32],
  local: [IFLA_VXLAN.LOCAL, ipAddress],
  ttl: [IFLA_VXLAN.TTL, u8],
  tos: [IFLA_VXLAN.TOS, u8],
  learning: [IFLA_VXLAN.LEARNING, bool8],
  ageing: [IFLA_VXLAN.AGEING, u32],
  limit: [IFLA_VXLAN.LIMIT, u32],
  proxy: [IFLA_VXLAN.PROXY, bool8],
  rsc: [IFLA_VXLAN.RSC, bool8],
  l2miss: [IFLA_VXLAN.L2MISS, bool8],
  l3miss: [IFLA_VXLAN.L3MISS, bool8],
  port: [IFLA_VXLAN.PORT, be16],
  group6: [IFLA_VXLAN.GROUP6, ipAddress],
  local6: [IFLA_VXLAN.LOCAL6, ipAddress],
  udpChecksum: [IFLA_VXLAN.UDP_CSUM, bool8],
  collectMetadata: [IFLA_VXLAN.COLLECT_METADATA, bool8],
};

const tun: AttributeTable<TunData> = {
  owner: [IFLA_TUN.OWNER, u32],
  group: [IFLA_TUN.GROUP, u32],
  type: [IFLA_TUN.TYPE, u8],
  packetInfo: [IFLA_TUN.PI, bool8],
  vnetHeader: [IFLA_TUN.VNET_HDR, bool8],
  persist: [IFLA_TUN.PERSIST, bool8],
  multiQueue: [IFLA_TUN.MULTI_QUEUE, bool8],
};

/** What IFLA_INFO_DATA looks like, by kind of link. */
export interface LinkDataByKind {
  veth: VethData;
  bridge: BridgeData;
  macvlan: MacvlanData;
  macvtap: MacvlanData;
  ipvlan: IpvlanData;
  ipvtap: IpvlanData;
  vlan: VlanData;
  vxlan: VxlanData;
  tun: TunData;
}

/** Data of a kind no table describes. */
export interface OpaqueLinkData extends WithUnknown {
  unknown?: readonly RawAttribute[];
}

const opaque: AttributeTable<OpaqueLinkData> = {};

const kinds: { readonly [Kind in keyof LinkDataByKind]: AttributeTable<LinkDataByKind[Kind]> } = {
  veth,
  bridge,
  macvlan,
  macvtap: macvlan,
  ipvlan,
  ipvtap: ipvlan,
  vlan,
  vxlan,
  tun,
};

const portKinds: Readonly<Record<string, AttributeTable<BridgePortData>>> = { bridge: bridgePort };

/** The kinds of links whose data has a table. */
export const linkKinds: readonly (keyof LinkDataByKind)[] = Object.keys(kinds) as (keyof LinkDataByKind)[];

/** The codec of IFLA_INFO_DATA of a kind; one that keeps everything as it is when the kind has no table. */
export function linkDataCodec(kind: string): ValueCodec<WithUnknown> {
  const table = Object.hasOwn(kinds, kind) ? kinds[kind as keyof LinkDataByKind] : opaque;
  return nested(table as AttributeTable<WithUnknown>);
}

/** The codec of IFLA_INFO_SLAVE_DATA: what a link is as a port of a master of this kind. */
export function portDataCodec(kind: string): ValueCodec<BridgePortData> {
  const table = Object.hasOwn(portKinds, kind) ? portKinds[kind]! : opaque;
  return nested(table as AttributeTable<BridgePortData>);
}
