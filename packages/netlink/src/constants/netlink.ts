/* <linux/netlink.h>, in kernel order. */

/** Netlink families this package speaks. */
export const NETLINK = { ROUTE: 0, NETFILTER: 12 } as const;
/** Control messages. */
export const NLMSG = { NOOP: 1, ERROR: 2, DONE: 3, OVERRUN: 4, MIN_TYPE: 16 } as const;
/** Flags of a message header; the meaning of the upper byte depends on the kind of request. */
export const NLM_F = {
  REQUEST: 0x1,
  MULTI: 0x2,
  ACK: 0x4,
  ECHO: 0x8,
  DUMP_INTR: 0x10,
  DUMP_FILTERED: 0x20,
  // get requests
  ROOT: 0x100,
  MATCH: 0x200,
  ATOMIC: 0x400,
  DUMP: 0x300,
  // new requests
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
  // delete requests
  NONREC: 0x100, // nf_tables: what has something in it is in use
  // acknowledgements
  CAPPED: 0x100,
  ACK_TLVS: 0x200,
} as const;
/** Bits of an attribute's type. */
export const NLA_F = { NESTED: 0x8000, NET_BYTEORDER: 0x4000, TYPE_MASK: 0x3fff } as const;
/** Attributes behind an acknowledgement, since 4.12. */
export const NLMSGERR_ATTR = { MSG: 1, OFFS: 2, COOKIE: 3, POLICY: 4, MISS_TYPE: 5, MISS_NEST: 6 } as const;
/** Options of setsockopt(SOL_NETLINK). */
export const NETLINK_OPTION = {
  ADD_MEMBERSHIP: 1,
  DROP_MEMBERSHIP: 2,
  CAP_ACK: 10,
  EXT_ACK: 11, // since 4.12
  GET_STRICT_CHK: 12, // since 4.20
} as const;
export const SOL_NETLINK = 270;
