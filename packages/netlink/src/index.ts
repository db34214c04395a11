export { type Acknowledgement, decodeAcknowledgement } from './acknowledgement.ts';
export { type AddressAttributes, type AddressHeader, type AddressLifetime, addressPayload } from './address-message.ts';
export {
  be16,
  be32,
  be64,
  binary,
  bool8,
  ipAddress,
  macAddress,
  s32,
  text,
  u8,
  u16,
  u32,
  u64,
  type ValueCodec,
} from './attribute-value.ts';
export {
  type AttributeTable,
  decodeAttributes,
  encodeAttributes,
  findAttribute,
  listOf,
  nested,
  type RawAttribute,
  readAttributes,
  type WithUnknown,
  writeAttributes,
} from './attributes.ts';
export { ByteWriter } from './byte-writer.ts';
export {
  type ConnectionAddresses,
  type ConnectionAttributes,
  type ConnectionProtocol,
  type ConnectionTuple,
  connectionPayload,
  conntrackType,
} from './conntrack-message.ts';
export * from './constants/if-link.ts';
export * from './constants/netlink.ts';
export * from './constants/nfnetlink.ts';
export * from './constants/rtnetlink.ts';
export {
  DumpInterruptedError,
  MalformedMessageError,
  NetlinkError,
  type NetlinkErrorContext,
  OverrunError,
} from './errors.ts';
export {
  insideNetworkNamespace,
  insideNewNetworkNamespace,
  openOwnNetworkNamespace,
} from './inside-network-namespace.ts';
export { formatIpAddress, parseIpAddress } from './ip-address.ts';
export type { LinkInfo } from './link-info.ts';
export {
  type BridgeData,
  type BridgePortData,
  type IpvlanData,
  type LinkDataByKind,
  linkKinds,
  type MacvlanData,
  type OpaqueLinkData,
  type TunData,
  type VethData,
  type VlanData,
  type VxlanData,
} from './link-kinds.ts';
export {
  type LinkAttributes,
  type LinkHeader,
  type LinkPayload,
  type LinkStatistics,
  linkPayload,
} from './link-message.ts';
export {
  decodeMessages,
  encodeMessage,
  encodeMessages,
  type HeaderField,
  type HeaderTable,
  isControl,
  type NetlinkMessage,
  type Payload,
  type PayloadCodec,
  payloadCodec,
} from './message.ts';
export { messageTypeName } from './message-types.ts';
export { type NamespaceIdAttributes, type NamespaceIdHeader, namespaceIdPayload } from './namespace-id-message.ts';
export { type NeighbourAttributes, type NeighbourHeader, neighbourPayload } from './neighbour-message.ts';
export {
  type ChainAttributes,
  chainPayload,
  type GenerationAttributes,
  generationPayload,
  type NetfilterHeader,
  nftablesBatch,
  nftablesType,
  type RulesAttributes,
  rulesPayload,
  type SetAttributes,
  type SetElement,
  type SetElementsAttributes,
  setElementsPayload,
  setPayload,
  type TableAttributes,
  tablePayload,
} from './nftables-message.ts';
export {
  type PacketLogAttributes,
  type PacketLogConfigAttributes,
  type PacketLogMode,
  type PacketTime,
  packetLogConfigPayload,
  packetLogPayload,
  packetLogType,
} from './packet-log-message.ts';
export { encodeRequests } from './prepared-requests.ts';
export { type QdiscAttributes, type QdiscHeader, qdiscPayload } from './qdisc-message.ts';
export {
  type NextHop,
  type NextHopAttributes,
  type RouteAttributes,
  type RouteHeader,
  type RouteMetrics,
  routePayload,
} from './route-message.ts';
export { type PortRange, type RuleAttributes, type RuleHeader, rulePayload } from './rule-message.ts';
export { type BatchOutcome, type NetlinkRequest, NetlinkSocket, type NetlinkSocketOptions } from './socket.ts';
