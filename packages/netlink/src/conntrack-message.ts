import { be16, be32, ipAddress, u8 } from './attribute-value.ts';
import { type AttributeTable, nested, type WithUnknown } from './attributes.ts';
import { CTA, CTA_IP, CTA_PROTO, CTA_TUPLE, IPCTNL_MSG_CT, NFNL_SUBSYS } from './constants/nfnetlink.ts';
import { type PayloadCodec, payloadCodec } from './message.ts';
import { type NetfilterHeader, netfilterHeader } from './nftables-message.ts';

/** Addresses of one direction, of one version. */
export interface ConnectionAddresses extends WithUnknown {
  source4?: string;
  destination4?: string;
  source6?: string;
  destination6?: string;
}

/** Protocol of one direction. */
export interface ConnectionProtocol extends WithUnknown {
  /** IPPROTO_* */
  number?: number;
  sourcePort?: number;
  destinationPort?: number;
}

/** One direction of a connection. */
export interface ConnectionTuple extends WithUnknown {
  addresses?: ConnectionAddresses;
  protocol?: ConnectionProtocol;
}

/** A connection the kernel tracks; what is not named here is kept as it came. */
export interface ConnectionAttributes extends WithUnknown {
  /** As it was begun. */
  original?: ConnectionTuple;
  /** As answers look: the other way round, with what address translation made of it. */
  reply?: ConnectionTuple;
  /** Tells it from a later one of the same addresses. */
  id?: number;
}

const addresses: AttributeTable<ConnectionAddresses> = {
  source4: [CTA_IP.V4_SRC, ipAddress],
  destination4: [CTA_IP.V4_DST, ipAddress],
  source6: [CTA_IP.V6_SRC, ipAddress],
  destination6: [CTA_IP.V6_DST, ipAddress],
};

const protocol: AttributeTable<ConnectionProtocol> = {
  number: [CTA_PROTO.NUM, u8],
  sourcePort: [CTA_PROTO.SRC_PORT, be16],
  destinationPort: [CTA_PROTO.DST_PORT, be16],
};

const tuple: AttributeTable<ConnectionTuple> = {
  addresses: [CTA_TUPLE.IP, nested(addresses)],
  protocol: [CTA_TUPLE.PROTO, nested(protocol)],
};

/** IPCTNL_MSG_CT_NEW, IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE. */
export const connectionPayload: PayloadCodec<NetfilterHeader, ConnectionAttributes> = payloadCodec<
  NetfilterHeader,
  ConnectionAttributes
>(netfilterHeader, {
  original: [CTA.TUPLE_ORIG, nested(tuple)],
  reply: [CTA.TUPLE_REPLY, nested(tuple)],
  id: [CTA.ID, be32],
});

/** The type of a message about connections on the wire. */
export function conntrackType(message: keyof typeof IPCTNL_MSG_CT): number {
  return (NFNL_SUBSYS.CTNETLINK << 8) | IPCTNL_MSG_CT[message];
}
