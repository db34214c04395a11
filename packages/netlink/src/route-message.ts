import { AF } from '@ns/libc';
import { binary, ipAddress, s32, u8, u32, type ValueCodec } from './attribute-value.ts';
import { type AttributeTable, nested, readAttributes, type WithUnknown, writeAttributes } from './attributes.ts';
import { RTA, RTAX } from './constants/rtnetlink.ts';
import { MalformedMessageError } from './errors.ts';
import { formatIpAddress, parseIpAddress } from './ip-address.ts';
import { type PayloadCodec, payloadCodec } from './message.ts';

/** `struct rtmsg`. */
export interface RouteHeader {
  readonly family: number;
  readonly destinationLength: number;
  readonly sourceLength: number;
  readonly tos: number;
  /** Routing table when it fits in a byte; the attribute has the whole number. */
  readonly table: number;
  readonly protocol: number;
  readonly scope: number;
  readonly kind: number;
  readonly flags: number;
}

/** Inside RTA_METRICS. */
export interface RouteMetrics extends WithUnknown {
  mtu?: number;
  window?: number;
  advertisedMss?: number;
  hopLimit?: number;
  initialCongestionWindow?: number;
}

/** One of several next hops: `struct rtnexthop` with its attributes. */
export interface NextHop {
  readonly flags: number;
  /** Weight minus one. */
  readonly hops: number;
  readonly index: number;
  readonly attributes: NextHopAttributes;
}

/** Attributes of a next hop. */
export interface NextHopAttributes extends WithUnknown {
  gateway?: string;
  via?: string;
}

/** Attributes of a route. */
export interface RouteAttributes extends WithUnknown {
  destination?: string;
  source?: string;
  inputIndex?: number;
  outputIndex?: number;
  gateway?: string;
  priority?: number;
  preferredSource?: string;
  metrics?: RouteMetrics;
  nextHops?: readonly NextHop[];
  cacheInfo?: Buffer;
  table?: number;
  mark?: number;
  /** Gateway of the other address family. */
  via?: string;
  /** Router preference of IPv6, RFC 4191. */
  preference?: number;
  expires?: number;
  nextHopId?: number;
}

/** RTA_VIA: an address with its family in front. */
const via: ValueCodec<string> = {
  write(out, value) {
    const bytes = parseIpAddress(value, 'via');
    out.u16(bytes.length === 4 ? AF.INET : AF.INET6);
    out.raw(bytes);
  },
  read: (bytes) => formatIpAddress(bytes.subarray(2)),
};

const metrics: AttributeTable<RouteMetrics> = {
  mtu: [RTAX.MTU, u32],
  window: [RTAX.WINDOW, u32],
  advertisedMss: [RTAX.ADVMSS, u32],
  hopLimit: [RTAX.HOPLIMIT, u32],
  initialCongestionWindow: [RTAX.INITCWND, u32],
};

const nextHopAttributes: AttributeTable<NextHopAttributes> = { gateway: [RTA.GATEWAY, ipAddress], via: [RTA.VIA, via] };

const NEXT_HOP_SIZE = 8;

const nextHops: ValueCodec<readonly NextHop[]> = {
  write(out, hops) {
    for (const hop of hops) {
      const start = out.length;
      out.u16(0);
      out.u8(hop.flags);
      out.u8(hop.hops);
      out.u32(hop.index);
      writeAttributes(out, nextHopAttributes, hop.attributes);
      out.patchU16(start, out.length - start);
    }
  },
  read(bytes) {
    const hops: NextHop[] = [];
    for (let at = 0; at + NEXT_HOP_SIZE <= bytes.length; ) {
      const length = bytes.readUInt16LE(at);
      if (length < NEXT_HOP_SIZE || at + length > bytes.length)
        throw new MalformedMessageError(`next hop of ${length} bytes`);
      hops.push({
        flags: bytes.readUInt8(at + 2),
        hops: bytes.readUInt8(at + 3),
        index: bytes.readInt32LE(at + 4),
        attributes: readAttributes(nextHopAttributes, bytes.subarray(at + NEXT_HOP_SIZE, at + length)),
      });
      at += (length + 3) & ~3;
    }
    return hops;
  },
};

/** RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE. */
export const routePayload: PayloadCodec<RouteHeader, RouteAttributes> = payloadCodec<RouteHeader, RouteAttributes>(
  [
    ['family', 'u8'],
    ['destinationLength', 'u8'],
    ['sourceLength', 'u8'],
    ['tos', 'u8'],
    ['table', 'u8'],
    ['protocol', 'u8'],
    ['scope', 'u8'],
    ['kind', 'u8'],
    ['flags', 'u32'],
  ],
  {
    destination: [RTA.DST, ipAddress],
    source: [RTA.SRC, ipAddress],
    inputIndex: [RTA.IIF, s32],
    outputIndex: [RTA.OIF, s32],
    gateway: [RTA.GATEWAY, ipAddress],
    priority: [RTA.PRIORITY, u32],
    preferredSource: [RTA.PREFSRC, ipAddress],
    metrics: [RTA.METRICS, nested(metrics)],
    nextHops: [RTA.MULTIPATH, nextHops],
    cacheInfo: [RTA.CACHEINFO, binary],
    table: [RTA.TABLE, u32],
    mark: [RTA.MARK, u32],
    via: [RTA.VIA, via],
    preference: [RTA.PREF, u8],
    expires: [RTA.EXPIRES, u32],
    nextHopId: [RTA.NH_ID, u32],
  },
);
