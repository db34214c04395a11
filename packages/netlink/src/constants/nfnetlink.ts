/* <linux/netfilter/nfnetlink*.h> and <linux/netfilter/nf_tables.h>, in kernel order. */

/** Subsystems: the upper byte of a message type of NETLINK_NETFILTER. */
export const NFNL_SUBSYS = { CTNETLINK: 1, ULOG: 4, NFTABLES: 10 } as const;
/** Frame of a batch that is applied as one transaction. */
export const NFNL_MSG_BATCH = { BEGIN: 16, END: 17 } as const;
/** Attributes of that frame. */
export const NFNL_BATCH = { GENID: 1 } as const;
/** Message types of nf_tables, to be or-ed with the subsystem. */
export const NFT_MSG = {
  NEWTABLE: 0,
  GETTABLE: 1,
  DELTABLE: 2,
  NEWCHAIN: 3,
  GETCHAIN: 4,
  DELCHAIN: 5,
  NEWRULE: 6,
  GETRULE: 7,
  DELRULE: 8,
  NEWSET: 9,
  GETSET: 10,
  DELSET: 11,
  NEWSETELEM: 12,
  GETSETELEM: 13,
  DELSETELEM: 14,
  NEWGEN: 15,
  GETGEN: 16,
  TRACE: 17,
  NEWOBJ: 18,
  GETOBJ: 19,
  DELOBJ: 20,
  GETOBJ_RESET: 21,
  NEWFLOWTABLE: 22,
  GETFLOWTABLE: 23,
  DELFLOWTABLE: 24,
} as const;
/** A list of set elements. */
export const NFTA_SET_ELEM_LIST = { TABLE: 1, SET: 2, ELEMENTS: 3, SET_ID: 4 } as const;
/** One set element. */
export const NFTA_SET_ELEM = {
  KEY: 1,
  DATA: 2,
  FLAGS: 3,
  TIMEOUT: 4,
  EXPIRATION: 5,
  USERDATA: 6,
  EXPR: 7,
  OBJREF: 9,
  KEY_END: 10,
  EXPRESSIONS: 11,
} as const;
/** Key or data of a set element. */
export const NFTA_DATA = { VALUE: 1, VERDICT: 2 } as const;
/** A list. */
export const NFTA_LIST = { ELEM: 1 } as const;
/** A table. */
export const NFTA_TABLE = { NAME: 1, FLAGS: 2, USE: 3, HANDLE: 4, USERDATA: 6, OWNER: 7 } as const;
/** A rule. */
export const NFTA_RULE = { TABLE: 1, CHAIN: 2, HANDLE: 3 } as const;
/** A set. */
export const NFTA_SET = { TABLE: 1, NAME: 2, FLAGS: 3 } as const;
/** A generation of the rules. */
export const NFTA_GEN = { ID: 1, PROC_PID: 2, PROC_NAME: 3 } as const;
/** Messages of the packet log. */
export const NFULNL_MSG = { PACKET: 0, CONFIG: 1 } as const;
/** Attributes of a logged packet. */
export const NFULA = {
  PACKET_HDR: 1,
  MARK: 2,
  TIMESTAMP: 3,
  IFINDEX_INDEV: 4,
  IFINDEX_OUTDEV: 5,
  IFINDEX_PHYSINDEV: 6,
  IFINDEX_PHYSOUTDEV: 7,
  HWADDR: 8,
  PAYLOAD: 9,
  PREFIX: 10,
  UID: 11,
  SEQ: 12,
  SEQ_GLOBAL: 13,
  GID: 14,
  HWTYPE: 15,
  HWHEADER: 16,
  HWLEN: 17,
  CT: 18,
  CT_INFO: 19,
  VLAN: 20,
  L2HDR: 21,
} as const;
/** Attributes of a packet log set-up message. */
export const NFULA_CFG = { CMD: 1, MODE: 2, NLBUFSIZ: 3, TIMEOUT: 4, QTHRESH: 5, FLAGS: 6 } as const;
/** Messages of connection tracking: `<linux/netfilter/nfnetlink_conntrack.h>`. */
export const IPCTNL_MSG_CT = { NEW: 0, GET: 1, DELETE: 2 } as const;
/** Attributes of a connection. */
export const CTA = {
  TUPLE_ORIG: 1,
  TUPLE_REPLY: 2,
  STATUS: 3,
  PROTOINFO: 4,
  HELP: 5,
  NAT_SRC: 6,
  TIMEOUT: 7,
  MARK: 8,
  COUNTERS_ORIG: 9,
  COUNTERS_REPLY: 10,
  USE: 11,
  ID: 12,
} as const;
/** One direction of a connection. */
export const CTA_TUPLE = { IP: 1, PROTO: 2, ZONE: 3 } as const;
/** Its addresses. */
export const CTA_IP = { V4_SRC: 1, V4_DST: 2, V6_SRC: 3, V6_DST: 4 } as const;
/** Its protocol. */
export const CTA_PROTO = { NUM: 1, SRC_PORT: 2, DST_PORT: 3 } as const;
