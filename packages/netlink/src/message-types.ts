import { addressPayload } from './address-message.ts';
import { NFNL_SUBSYS, NFT_MSG } from './constants/nfnetlink.ts';
import { RTM } from './constants/rtnetlink.ts';
import { linkPayload } from './link-message.ts';
import type { PayloadCodec } from './message.ts';
import { namespaceIdPayload } from './namespace-id-message.ts';
import { neighbourPayload } from './neighbour-message.ts';
import { qdiscPayload } from './qdisc-message.ts';
import { routePayload } from './route-message.ts';
import { rulePayload } from './rule-message.ts';

const names: ReadonlyMap<number, string> = new Map([
  ...Object.entries(RTM).map(([name, type]): [number, string] => [type, `RTM_${name}`]),
  ...Object.entries(NFT_MSG).map(([name, type]): [number, string] => [
    (NFNL_SUBSYS.NFTABLES << 8) | type,
    `NFT_MSG_${name}`,
  ]),
]);

/** The kernel's name of a message type: `RTM_NEWLINK`; `netlink message 99` when it has none here. */
export function messageTypeName(type: number): string {
  return names.get(type) ?? `netlink message ${type}`;
}

/** What a request does: its own words, or the message type. */
export function describeRequest(request: { readonly type: number; readonly doing?: string }): string {
  return request.doing ?? messageTypeName(request.type);
}

type AnyPayload = Pick<PayloadCodec<object, object>, 'attributeAt' | 'attributeName'>;

const families: readonly (readonly [firstType: number, codec: () => AnyPayload])[] = [
  [RTM.NEWLINK, linkPayload],
  [RTM.NEWADDR, () => addressPayload],
  [RTM.NEWROUTE, () => routePayload],
  [RTM.NEWNEIGH, () => neighbourPayload],
  [RTM.NEWRULE, () => rulePayload],
  [RTM.NEWQDISC, () => qdiscPayload],
  [RTM.NEWNSID, () => namespaceIdPayload],
];

/** The payload codec of a NETLINK_ROUTE message type, if there is one. Types of one family lie in a group of four. */
export function payloadCodecOf(type: number): AnyPayload | undefined {
  return families.find(([first]) => first === (type & ~3))?.[1]();
}
