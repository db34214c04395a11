import { binary, macAddress, s32, text, u8, u32, type ValueCodec } from './attribute-value.ts';
import { type AttributeTable, listOf, type WithUnknown } from './attributes.ts';
import { IFLA } from './constants/if-link.ts';
import { type LinkInfo, linkInfo } from './link-info.ts';
import { type Payload, type PayloadCodec, payloadCodec } from './message.ts';

/** `struct ifinfomsg`. */
export interface LinkHeader {
  readonly family: number;
  /** ARPHRD_*: 1 ethernet, 772 loopback */
  readonly deviceType: number;
  readonly index: number;
  /** Bits of IFF. */
  readonly flags: number;
  /** Which bits of `flags` a request changes. */
  readonly change: number;
}

/** Counters of a link: `struct rtnl_link_stats64`. */
export interface LinkStatistics {
  readonly rxPackets: bigint;
  readonly txPackets: bigint;
  readonly rxBytes: bigint;
  readonly txBytes: bigint;
  readonly rxErrors: bigint;
  readonly txErrors: bigint;
  readonly rxDropped: bigint;
  readonly txDropped: bigint;
  readonly multicast: bigint;
  readonly collisions: bigint;
}

const counters = [
  'rxPackets',
  'txPackets',
  'rxBytes',
  'txBytes',
  'rxErrors',
  'txErrors',
  'rxDropped',
  'txDropped',
  'multicast',
  'collisions',
] as const;

const statistics: ValueCodec<LinkStatistics> = {
  write(out, value) {
    for (const counter of counters) out.u64(value[counter]);
  },
  read: (bytes) =>
    Object.fromEntries(
      counters.map((counter, index) => [counter, bytes.readBigUInt64LE(index * 8)]),
    ) as unknown as LinkStatistics,
};

/** Inside IFLA_PROP_LIST. */
interface Properties extends WithUnknown {
  alternativeNames?: readonly string[];
}

const properties: ValueCodec<Properties> = {
  nested: true,
  write: (out, value) => listOf(IFLA.ALT_IFNAME, text).write(out, value.alternativeNames ?? []),
  read: (bytes) => ({ alternativeNames: listOf(IFLA.ALT_IFNAME, text).read(bytes) }),
};

/** Attributes of a link. */
export interface LinkAttributes extends WithUnknown {
  address?: string;
  broadcast?: string;
  name?: string;
  mtu?: number;
  /** Index of the link this one lies on, or of the other end of a veth. */
  link?: number;
  qdisc?: string;
  /** Index of the master; 0 in a request takes the link out. */
  master?: number;
  txQueueLength?: number;
  /** RFC 2863: 0 unknown, 2 down, 3 lowerlayerdown, 5 dormant, 6 up */
  operState?: number;
  linkMode?: number;
  info?: LinkInfo;
  netnsPid?: number;
  alias?: string;
  statistics?: LinkStatistics;
  addressFamilies?: Buffer;
  group?: number;
  netnsFd?: number;
  /** Bits of RTEXT_FILTER: what else a get request wants. */
  extendedMask?: number;
  promiscuity?: number;
  numTxQueues?: number;
  numRxQueues?: number;
  carrier?: number;
  carrierChanges?: number;
  /** Id of the namespace that `link` is in; -1 when it has none here. */
  linkNetnsId?: number;
  minMtu?: number;
  maxMtu?: number;
  properties?: Properties;
  permanentAddress?: string;
}

const attributes: AttributeTable<LinkAttributes> = {
  address: [IFLA.ADDRESS, macAddress],
  broadcast: [IFLA.BROADCAST, macAddress],
  name: [IFLA.IFNAME, text],
  mtu: [IFLA.MTU, u32],
  link: [IFLA.LINK, u32],
  qdisc: [IFLA.QDISC, text],
  master: [IFLA.MASTER, u32],
  txQueueLength: [IFLA.TXQLEN, u32],
  operState: [IFLA.OPERSTATE, u8],
  linkMode: [IFLA.LINKMODE, u8],
  info: [IFLA.LINKINFO, linkInfo],
  netnsPid: [IFLA.NET_NS_PID, u32],
  alias: [IFLA.IFALIAS, text],
  statistics: [IFLA.STATS64, statistics],
  addressFamilies: [IFLA.AF_SPEC, binary],
  group: [IFLA.GROUP, u32],
  netnsFd: [IFLA.NET_NS_FD, u32],
  extendedMask: [IFLA.EXT_MASK, u32],
  promiscuity: [IFLA.PROMISCUITY, u32],
  numTxQueues: [IFLA.NUM_TX_QUEUES, u32],
  numRxQueues: [IFLA.NUM_RX_QUEUES, u32],
  carrier: [IFLA.CARRIER, u8],
  carrierChanges: [IFLA.CARRIER_CHANGES, u32],
  linkNetnsId: [IFLA.LINK_NETNSID, s32],
  minMtu: [IFLA.MIN_MTU, u32],
  maxMtu: [IFLA.MAX_MTU, u32],
  properties: [IFLA.PROP_LIST, properties],
  permanentAddress: [IFLA.PERM_ADDRESS, macAddress],
};

/** The payload of a link message to encode. */
export type LinkPayload = Payload<LinkHeader, LinkAttributes>;

let codec: PayloadCodec<LinkHeader, LinkAttributes> | undefined;

/** RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK. */
export function linkPayload(): PayloadCodec<LinkHeader, LinkAttributes> {
  // Made on first use: a veth's data contains a link message, so the tables refer to each other.
  codec ??= payloadCodec<LinkHeader, LinkAttributes>(
    [
      ['family', 'u8'],
      ['', 'pad8'],
      ['deviceType', 'u16'],
      ['index', 's32'],
      ['flags', 'u32'],
      ['change', 'u32'],
    ],
    attributes,
  );
  return codec;
}
