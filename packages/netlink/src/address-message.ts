import { ipAddress, text, u8, u32, type ValueCodec } from './attribute-value.ts';
import type { WithUnknown } from './attributes.ts';
import { IFA } from './constants/rtnetlink.ts';
import { type PayloadCodec, payloadCodec } from './message.ts';

/** `struct ifaddrmsg`. */
export interface AddressHeader {
  readonly family: number;
  readonly prefixLength: number;
  /** The low byte of the flags; the attribute has all of them. */
  readonly flags: number;
  readonly scope: number;
  readonly index: number;
}

/** Lifetimes of an address in seconds; 0xffffffff is for ever. Times of change are in hundredths of a second. */
export interface AddressLifetime {
  readonly preferred: number;
  readonly valid: number;
  readonly created: number;
  readonly updated: number;
}

/** Attributes of an address. */
export interface AddressAttributes extends WithUnknown {
  /** The address, or the other end of a point-to-point link. */
  address?: string;
  /** The address itself, where `address` is the other end. IPv4 always has it. */
  local?: string;
  label?: string;
  broadcast?: string;
  lifetime?: AddressLifetime;
  /** Bits of IFA_F. */
  flags?: number;
  routePriority?: number;
  protocol?: number;
}

const lifetime: ValueCodec<AddressLifetime> = {
  write(out, value) {
    for (const field of [value.preferred, value.valid, value.created, value.updated]) out.u32(field);
  },
  read: (bytes) => ({
    preferred: bytes.readUInt32LE(0),
    valid: bytes.readUInt32LE(4),
    created: bytes.readUInt32LE(8),
    updated: bytes.readUInt32LE(12),
  }),
};

/** RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR. */
export const addressPayload: PayloadCodec<AddressHeader, AddressAttributes> = payloadCodec<
  AddressHeader,
  AddressAttributes
>(
  [
    ['family', 'u8'],
    ['prefixLength', 'u8'],
    ['flags', 'u8'],
    ['scope', 'u8'],
    ['index', 'u32'],
  ],
  {
    address: [IFA.ADDRESS, ipAddress],
    local: [IFA.LOCAL, ipAddress],
    label: [IFA.LABEL, text],
    broadcast: [IFA.BROADCAST, ipAddress],
    lifetime: [IFA.CACHEINFO, lifetime],
    flags: [IFA.FLAGS, u32],
    routePriority: [IFA.RT_PRIORITY, u32],
    protocol: [IFA.PROTO, u8],
  },
);
