import {
  chainPayload,
  type NetfilterHeader,
  type NetlinkRequest,
  nftablesType,
  type PayloadCodec,
  rulesPayload,
  type SetElement,
  setElementsPayload,
  setPayload,
  tablePayload,
} from '@ns/netlink';
import { type SetName, TABLE, type TableFamily } from './ruleset.ts';

/* Requests about our tables and what is in them. */

interface RequestContext {
  readonly family: TableFamily;
  /** How errors call it. */
  readonly doing: string;
  /** Default: none. */
  readonly flags?: number;
}

/** NFPROTO_INET, NFPROTO_BRIDGE */
const familyNumbers: Readonly<Record<TableFamily, number>> = { inet: 1, bridge: 7 };

const verbs = { NEWTABLE: 'make', GETTABLE: 'look for', DELTABLE: 'remove' } as const;

/** A table as a whole. */
export function tableRequest(message: keyof typeof verbs, family: TableFamily, flags = 0): NetlinkRequest {
  const doing = `${verbs[message]} table ${family} ${TABLE}`;
  return request(message, tablePayload, { name: TABLE }, { family, doing, flags });
}

/** A chain. */
export function chainRequest(
  message: 'NEWCHAIN' | 'GETCHAIN' | 'DELCHAIN',
  name: string,
  context: RequestContext,
): NetlinkRequest {
  return request(message, chainPayload, { table: TABLE, name }, context);
}

/** The removal of all rules: of a chain, or of the table. */
export function rulesRemoval(of: { readonly chain?: string }, context: RequestContext): NetlinkRequest {
  return request('DELRULE', rulesPayload, { table: TABLE, ...of }, context);
}

/** The removal of a set. */
export function setRemoval(name: SetName, context: RequestContext): NetlinkRequest {
  return request('DELSET', setPayload, { table: TABLE, name }, context);
}

/** Elements of a set; without any, all. */
export function elementsRequest(
  message: 'NEWSETELEM' | 'GETSETELEM' | 'DELSETELEM',
  of: { readonly set: SetName; readonly elements?: readonly SetElement[] },
  context: RequestContext,
): NetlinkRequest {
  return request(message, setElementsPayload, { table: TABLE, ...of }, context);
}

function request<Attributes>(
  message: Parameters<typeof nftablesType>[0],
  codec: PayloadCodec<NetfilterHeader, Attributes>,
  attributes: Attributes,
  { family, doing, flags = 0 }: RequestContext,
): NetlinkRequest {
  return {
    type: nftablesType(message),
    flags,
    payload: codec.encode({ family: familyNumbers[family], attributes }),
    doing,
  };
}
