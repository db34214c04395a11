import { be16, binary, ipAddress, macAddress, u8, u16, u32 } from './attribute-value.ts';
import type { WithUnknown } from './attributes.ts';
import { NDA } from './constants/rtnetlink.ts';
import { type PayloadCodec, payloadCodec } from './message.ts';

/** `struct ndmsg`. */
export interface NeighbourHeader {
  /** AF_INET, AF_INET6, or AF_BRIDGE for a forwarding database entry. */
  readonly family: number;
  readonly index: number;
  /** Bits of NUD. */
  readonly state: number;
  /** Bits of NTF. */
  readonly flags: number;
  readonly kind: number;
}

/** Attributes of a neighbour or a forwarding database entry. */
export interface NeighbourAttributes extends WithUnknown {
  destination?: string;
  linkAddress?: string;
  cacheInfo?: Buffer;
  probes?: number;
  vlan?: number;
  port?: number;
  vni?: number;
  viaIndex?: number;
  master?: number;
  protocol?: number;
}

/** RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH. */
export const neighbourPayload: PayloadCodec<NeighbourHeader, NeighbourAttributes> = payloadCodec<
  NeighbourHeader,
  NeighbourAttributes
>(
  [
    ['family', 'u8'],
    ['', 'pad8'],
    ['', 'pad16'],
    ['index', 's32'],
    ['state', 'u16'],
    ['flags', 'u8'],
    ['kind', 'u8'],
  ],
  {
    destination: [NDA.DST, ipAddress],
    linkAddress: [NDA.LLADDR, macAddress],
    cacheInfo: [NDA.CACHEINFO, binary],
    probes: [NDA.PROBES, u32],
    vlan: [NDA.VLAN, u16],
    port: [NDA.PORT, be16],
    vni: [NDA.VNI, u32],
    viaIndex: [NDA.IFINDEX, u32],
    master: [NDA.MASTER, u32],
    protocol: [NDA.PROTOCOL, u8],
  },
);
