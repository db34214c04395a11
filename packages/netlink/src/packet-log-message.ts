import { be16, be32, binary, text, u8, type ValueCodec } from './attribute-value.ts';
import type { WithUnknown } from './attributes.ts';
import { NFNL_SUBSYS, NFULA, NFULA_CFG, NFULNL_MSG } from './constants/nfnetlink.ts';
import { type PayloadCodec, payloadCodec } from './message.ts';
import { type NetfilterHeader, netfilterHeader } from './nftables-message.ts';

/** Seconds and microseconds of the packet's arrival. */
export interface PacketTime {
  readonly seconds: bigint;
  readonly microseconds: bigint;
}

/** A packet a rule with `log group` reported. */
export interface PacketLogAttributes extends WithUnknown {
  mark?: number;
  time?: PacketTime;
  inputIndex?: number;
  outputIndex?: number;
  /** The packet from its IP header on. */
  payload?: Buffer;
  /** What the rule says with `prefix`. */
  prefix?: string;
  uid?: number;
}

const time: ValueCodec<PacketTime> = {
  write(out, value) {
    out.be64(value.seconds);
    out.be64(value.microseconds);
  },
  read: (bytes) => ({ seconds: bytes.readBigUInt64BE(0), microseconds: bytes.readBigUInt64BE(8) }),
};

/** NFULNL_MSG_PACKET. */
export const packetLogPayload: PayloadCodec<NetfilterHeader, PacketLogAttributes> = payloadCodec<
  NetfilterHeader,
  PacketLogAttributes
>(netfilterHeader, {
  mark: [NFULA.MARK, be32],
  time: [NFULA.TIMESTAMP, time],
  inputIndex: [NFULA.IFINDEX_INDEV, be32],
  outputIndex: [NFULA.IFINDEX_OUTDEV, be32],
  payload: [NFULA.PAYLOAD, binary],
  prefix: [NFULA.PREFIX, text],
  uid: [NFULA.UID, be32],
});

/** How much of each packet comes along. */
export interface PacketLogMode {
  readonly copyBytes: number;
  /** 0 nothing, 1 attributes, 2 the packet too */
  readonly mode: number;
}

/** Set-up of a listener. */
export interface PacketLogConfigAttributes extends WithUnknown {
  /** 1 bind, 2 unbind */
  command?: number;
  mode?: PacketLogMode;
  /** Hundredths of a second until a packet is passed on that has no company. */
  timeout?: number;
  /** Number of packets that are passed on together. */
  threshold?: number;
  flags?: number;
}

const mode: ValueCodec<PacketLogMode> = {
  write(out, value) {
    out.be32(value.copyBytes);
    out.u8(value.mode);
    out.u8(0);
  },
  read: (bytes) => ({ copyBytes: bytes.readUInt32BE(0), mode: bytes.readUInt8(4) }),
};

/** NFULNL_MSG_CONFIG. `resource` of the header is the group. */
export const packetLogConfigPayload: PayloadCodec<NetfilterHeader, PacketLogConfigAttributes> = payloadCodec<
  NetfilterHeader,
  PacketLogConfigAttributes
>(netfilterHeader, {
  command: [NFULA_CFG.CMD, u8],
  mode: [NFULA_CFG.MODE, mode],
  timeout: [NFULA_CFG.TIMEOUT, be32],
  threshold: [NFULA_CFG.QTHRESH, be32],
  flags: [NFULA_CFG.FLAGS, be16],
});

/** The type of a packet log message on the wire. */
export function packetLogType(message: keyof typeof NFULNL_MSG): number {
  return (NFNL_SUBSYS.ULOG << 8) | NFULNL_MSG[message];
}
