import { ipAddress, text, u8, u32, type ValueCodec } from './attribute-value.ts';
import type { WithUnknown } from './attributes.ts';
import { FRA } from './constants/rtnetlink.ts';
import { type PayloadCodec, payloadCodec } from './message.ts';

/** `struct fib_rule_hdr`. */
export interface RuleHeader {
  readonly family: number;
  readonly destinationLength: number;
  readonly sourceLength: number;
  readonly tos: number;
  readonly table: number;
  /** One of FR_ACT. */
  readonly action: number;
  readonly flags: number;
}

/** A range of ports, ends included. */
export interface PortRange {
  readonly from: number;
  readonly to: number;
}

/** Attributes of a policy routing rule. */
export interface RuleAttributes extends WithUnknown {
  destination?: string;
  source?: string;
  inputName?: string;
  goto?: number;
  priority?: number;
  mark?: number;
  suppressIfGroup?: number;
  suppressPrefixLength?: number;
  table?: number;
  markMask?: number;
  outputName?: string;
  l3mdev?: number;
  protocol?: number;
  ipProtocol?: number;
  sourcePorts?: PortRange;
  destinationPorts?: PortRange;
}

const portRange: ValueCodec<PortRange> = {
  write(out, { from, to }) {
    out.u16(from);
    out.u16(to);
  },
  read: (bytes) => ({ from: bytes.readUInt16LE(0), to: bytes.readUInt16LE(2) }),
};

/** RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE. */
export const rulePayload: PayloadCodec<RuleHeader, RuleAttributes> = payloadCodec<RuleHeader, RuleAttributes>(
  [
    ['family', 'u8'],
    ['destinationLength', 'u8'],
    ['sourceLength', 'u8'],
    ['tos', 'u8'],
    ['table', 'u8'],
    ['', 'pad8'],
    ['', 'pad8'],
    ['action', 'u8'],
    ['flags', 'u32'],
  ],
  {
    destination: [FRA.DST, ipAddress],
    source: [FRA.SRC, ipAddress],
    inputName: [FRA.IIFNAME, text],
    goto: [FRA.GOTO, u32],
    priority: [FRA.PRIORITY, u32],
    mark: [FRA.FWMARK, u32],
    suppressIfGroup: [FRA.SUPPRESS_IFGROUP, u32],
    suppressPrefixLength: [FRA.SUPPRESS_PREFIXLEN, u32],
    table: [FRA.TABLE, u32],
    markMask: [FRA.FWMASK, u32],
    outputName: [FRA.OIFNAME, text],
    l3mdev: [FRA.L3MDEV, u8],
    protocol: [FRA.PROTOCOL, u8],
    ipProtocol: [FRA.IP_PROTO, u8],
    sourcePorts: [FRA.SPORT_RANGE, portRange],
    destinationPorts: [FRA.DPORT_RANGE, portRange],
  },
);
