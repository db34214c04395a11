import { be32, be64, binary, text } from './attribute-value.ts';
import { type AttributeTable, listOf, nested, type WithUnknown } from './attributes.ts';
import {
  NFNL_BATCH,
  NFNL_MSG_BATCH,
  NFNL_SUBSYS,
  NFT_MSG,
  NFTA_DATA,
  NFTA_GEN,
  NFTA_LIST,
  NFTA_RULE,
  NFTA_SET,
  NFTA_SET_ELEM,
  NFTA_SET_ELEM_LIST,
  NFTA_TABLE,
} from './constants/nfnetlink.ts';
import { type HeaderTable, type PayloadCodec, payloadCodec } from './message.ts';
import type { NetlinkRequest } from './socket.ts';

/** `struct nfgenmsg`, in front of every nfnetlink message. */
export interface NetfilterHeader {
  /** NFPROTO_INET is 1, NFPROTO_IPV4 2, NFPROTO_BRIDGE 7, NFPROTO_IPV6 10 */
  readonly family: number;
  readonly version: number;
  /** Subsystem, in the frame of a batch; group, in the packet log. */
  readonly resource: number;
}

/** The fields of {@link NetfilterHeader}, in order. */
export const netfilterHeader: HeaderTable<NetfilterHeader> = [
  ['family', 'u8'],
  ['version', 'u8'],
  ['resource', 'be16'],
];

/** Key or data of a set element, as raw bytes: each field of a concatenation is padded to four. */
interface Data extends WithUnknown {
  value?: Buffer;
}

/** An element of a set or map. */
export interface SetElement extends WithUnknown {
  key?: Data;
  /** End of the range, included, of a concatenation with ranges. Since 5.6. */
  keyEnd?: Data;
  /** What a map maps to. */
  data?: Data;
  /** 1: this key ends the interval that the one before begins, and is not part of it. */
  flags?: number;
  /** Milliseconds until the kernel removes it. */
  timeoutMs?: bigint;
  /** Milliseconds that are left. */
  expirationMs?: bigint;
}

/** Elements of one set. */
export interface SetElementsAttributes extends WithUnknown {
  table?: string;
  set?: string;
  elements?: readonly SetElement[];
}

const data: AttributeTable<Data> = { value: [NFTA_DATA.VALUE, binary] };

const element: AttributeTable<SetElement> = {
  key: [NFTA_SET_ELEM.KEY, nested(data)],
  keyEnd: [NFTA_SET_ELEM.KEY_END, nested(data)],
  data: [NFTA_SET_ELEM.DATA, nested(data)],
  flags: [NFTA_SET_ELEM.FLAGS, be32],
  timeoutMs: [NFTA_SET_ELEM.TIMEOUT, be64],
  expirationMs: [NFTA_SET_ELEM.EXPIRATION, be64],
};

/** NFT_MSG_NEWSETELEM, NFT_MSG_GETSETELEM, NFT_MSG_DELSETELEM. */
export const setElementsPayload: PayloadCodec<NetfilterHeader, SetElementsAttributes> = payloadCodec<
  NetfilterHeader,
  SetElementsAttributes
>(netfilterHeader, {
  table: [NFTA_SET_ELEM_LIST.TABLE, text],
  set: [NFTA_SET_ELEM_LIST.SET, text],
  elements: [NFTA_SET_ELEM_LIST.ELEMENTS, listOf(NFTA_LIST.ELEM, nested(element))],
});

/** Where a base chain hangs. */
interface ChainHook extends WithUnknown {
  /** Of NF_INET: 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting */
  number?: number;
  priority?: number;
}

/** A chain; table and name are what asking for one takes. */
export interface ChainAttributes extends WithUnknown {
  table?: string;
  name?: string;
  /** Of base chains only. */
  hook?: ChainHook;
  /** Of base chains only: 0 drop, 1 accept */
  policy?: number;
}

// NFTA_CHAIN_TABLE and those that follow; NFTA_HOOK_HOOKNUM and _PRIORITY
const CHAIN_TABLE = NFTA_TABLE.NAME;
const CHAIN_NAME = 3;
const CHAIN_HOOK = 4;
const CHAIN_POLICY = 5;
const hook: AttributeTable<ChainHook> = { number: [1, be32], priority: [2, be32] };

/** NFT_MSG_NEWCHAIN without a hook, NFT_MSG_GETCHAIN, NFT_MSG_DELCHAIN. */
export const chainPayload: PayloadCodec<NetfilterHeader, ChainAttributes> = payloadCodec<
  NetfilterHeader,
  ChainAttributes
>(netfilterHeader, {
  table: [CHAIN_TABLE, text],
  name: [CHAIN_NAME, text],
  hook: [CHAIN_HOOK, nested(hook)],
  policy: [CHAIN_POLICY, be32],
});

/** Whose rules are meant: without a chain, those of all chains of the table. */
export interface RulesAttributes extends WithUnknown {
  table?: string;
  chain?: string;
}

/** NFT_MSG_DELRULE. */
export const rulesPayload: PayloadCodec<NetfilterHeader, RulesAttributes> = payloadCodec<
  NetfilterHeader,
  RulesAttributes
>(netfilterHeader, { table: [NFTA_RULE.TABLE, text], chain: [NFTA_RULE.CHAIN, text] });

/** A set or map. */
export interface SetAttributes extends WithUnknown {
  table?: string;
  name?: string;
}

/** NFT_MSG_DELSET: with NLM_F.NONREC, one that has elements is refused with EBUSY. */
export const setPayload: PayloadCodec<NetfilterHeader, SetAttributes> = payloadCodec<NetfilterHeader, SetAttributes>(
  netfilterHeader,
  { table: [NFTA_SET.TABLE, text], name: [NFTA_SET.NAME, text] },
);

/** A table. */
export interface TableAttributes extends WithUnknown {
  name?: string;
}

/** NFT_MSG_NEWTABLE, NFT_MSG_GETTABLE; NFT_MSG_DELTABLE: with NLM_F.NONREC, one that is not empty is refused with EBUSY. */
export const tablePayload: PayloadCodec<NetfilterHeader, TableAttributes> = payloadCodec<
  NetfilterHeader,
  TableAttributes
>(netfilterHeader, { name: [NFTA_TABLE.NAME, text] });

/** The state of all rules of a network namespace. */
export interface GenerationAttributes extends WithUnknown {
  /** Another with every change. */
  id?: number;
}

/** NFT_MSG_GETGEN. */
export const generationPayload: PayloadCodec<NetfilterHeader, GenerationAttributes> = payloadCodec<
  NetfilterHeader,
  GenerationAttributes
>(netfilterHeader, { id: [NFTA_GEN.ID, be32] });

/** The type of an nf_tables message on the wire. */
export function nftablesType(message: keyof typeof NFT_MSG): number {
  return (NFNL_SUBSYS.NFTABLES << 8) | NFT_MSG[message];
}

const frame = payloadCodec<NetfilterHeader, GenerationAttributes>(netfilterHeader, { id: [NFNL_BATCH.GENID, be32] });

const resource = NFNL_SUBSYS.NFTABLES;
const plainFrame = frame.encode({ resource });

/**
 * Puts the frame of a transaction around nf_tables requests: all of them happen, or none.
 *
 * @param options - `generation`: refuse it with ERESTART unless the rules are still those of this generation
 */
export function nftablesBatch(
  requests: readonly NetlinkRequest[],
  options: { readonly generation?: number } = {},
): NetlinkRequest[] {
  const { generation: id } = options;
  const begin = id === undefined ? plainFrame : frame.encode({ resource, attributes: { id } });
  return [
    { type: NFNL_MSG_BATCH.BEGIN, payload: begin },
    ...requests,
    { type: NFNL_MSG_BATCH.END, payload: plainFrame },
  ];
}
