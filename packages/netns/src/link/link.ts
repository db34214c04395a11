import { SpecError } from '@ns/libc';
import {
  type BridgePortData,
  IFF,
  type LinkAttributes,
  type LinkDataByKind,
  type LinkHeader,
  type LinkStatistics,
  linkPayload,
  NetlinkError,
  type NetlinkMessage,
  type NetlinkRequest,
  type NetlinkSocket,
  RTM,
} from '@ns/netlink';
import { type InNetns, withSocket } from '../namespace-reference.ts';
import { type AddressGeneration, addressGenerationOf } from './address-generation.ts';

/** RFC 2863, in the words of `ip`. */
export type OperState = 'UNKNOWN' | 'NOTPRESENT' | 'DOWN' | 'LOWERLAYERDOWN' | 'TESTING' | 'DORMANT' | 'UP';

/** A network link (interface), with what `ip -details -statistics link` knows. */
export interface Link {
  /** `ifindex` */
  readonly index: number;
  /** `ifname` */
  readonly name: string;
  /** `altnames` */
  readonly alternativeNames: readonly string[];
  /** `linkinfo.info_kind`; a physical device and `lo` have none. */
  readonly kind: string | undefined;
  /** Names of IFF bits, in the kernel's order. */
  readonly flags: readonly (keyof typeof IFF)[];
  /** Was it set up? (IFF_UP; whether it works is `state`.) */
  readonly up: boolean;
  /** `operstate` */
  readonly state: OperState;
  readonly mtu: number;
  /** `address`; links without a link layer have none. */
  readonly mac: string | undefined;
  /** Name of the master. */
  readonly master: string | undefined;
  readonly masterIndex: number | undefined;
  /** `link_index`: the link below, or the other end of a veth. It may be in another namespace: see `linkNetnsId`. */
  readonly parentIndex: number | undefined;
  /** `link_netnsid` */
  readonly linkNetnsId: number | undefined;
  readonly qdisc: string | undefined;
  /** `txqlen` */
  readonly txQueueLength: number | undefined;
  /** `ifalias` */
  readonly alias: string | undefined;
  /** `linkinfo.info_data`, in the words of @ns/netlink's tables. */
  readonly data: LinkDataByKind[keyof LinkDataByKind] | undefined;
  /** `linkinfo.info_slave_data`, of a port of a bridge. */
  readonly port: BridgePortData | undefined;
  /** `inet6_addr_gen_mode`; a link without IPv6 has none. */
  readonly addressGeneration: AddressGeneration | undefined;
  /** `stats64` */
  readonly statistics: LinkStatistics | undefined;
}

/** A link, by name, by index, or as an object that has either. */
export type LinkReference = string | number | { readonly index: number } | { readonly name: string };

const operStates: readonly OperState[] = [
  'UNKNOWN',
  'NOTPRESENT',
  'DOWN',
  'LOWERLAYERDOWN',
  'TESTING',
  'DORMANT',
  'UP',
];
const flagNames = Object.keys(IFF) as (keyof typeof IFF)[];

/** Index and name attributes with which a request names a link. Either is enough for the kernel. */
export function namedLink(reference: LinkReference, field = 'link'): { index: number; name?: string } {
  if (typeof reference === 'string') return { index: 0, name: checkLinkName(reference, field) };
  if (typeof reference === 'number') return { index: checkIndex(reference, field) };
  if ('index' in reference) return { index: checkIndex(reference.index, field) };
  return { index: 0, name: checkLinkName(reference.name, field) };
}

/** How a link is called in messages. */
export function describeLink(reference: LinkReference): string {
  const { index, name } = namedLink(reference);
  return name === undefined ? `link ${index}` : `link '${name}'`;
}

function checkIndex(index: number, field: string): number {
  if (!Number.isSafeInteger(index) || index <= 0) throw new SpecError(field, 'the name or index of a link', index);
  return index;
}

/**
 * dev_valid_name() of the kernel: 1 to 15 bytes, not `.` or `..`, no slash, colon or white space.
 *
 * @throws SpecError
 */
export function checkLinkName(name: string, field = 'name'): string {
  const valid =
    typeof name === 'string' &&
    /^[^\s/:\0]+$/.test(name) &&
    Buffer.byteLength(name) <= 15 &&
    name !== '.' &&
    name !== '..';
  if (!valid) throw new SpecError(field, 'a link name: 1 to 15 bytes without slash, colon or white space', name);
  return name;
}

/**
 * All links of a network namespace: RTM_GETLINK. Needs no privilege.
 *
 * @param options - `kind` and `master` make the kernel filter
 */
export async function list(
  options: InNetns & { readonly kind?: string; readonly master?: LinkReference } = {},
): Promise<Link[]> {
  return withSocket(options.netns, (socket) => {
    const attributes: LinkAttributes = { extendedMask: RTEXT_FILTER_VF };
    if (options.master !== undefined) attributes.master = indexOf(socket, options.master);
    if (options.kind !== undefined) attributes.info = { kind: options.kind };
    const found = socket
      .dump({ type: RTM.GETLINK, payload: linkPayload().encode({ attributes }), doing: 'list links' })
      .map(decode);
    const names = new Map(found.map((link) => [link.index, link.name]));
    return found.map((link) => withMasterName(link, (index) => names.get(index) ?? readLink(socket, index)?.name));
  });
}

/**
 * One link, or `undefined` when there is none of that name or index.
 */
export async function get(reference: LinkReference, options: InNetns = {}): Promise<Link | undefined> {
  return withSocket(options.netns, (socket) => readLink(socket, reference));
}

// Without it the kernel adds SR-IOV virtual functions one by one, which no field here shows; ip asks the same way.
const RTEXT_FILTER_VF = 1;
// Since 4.4; an older kernel sends them.
const RTEXT_FILTER_SKIP_STATS = 8;

/** Reads a link with an open socket. */
export function readLink(socket: NetlinkSocket, reference: LinkReference): Link | undefined {
  const { index, name } = namedLink(reference);
  const attributes: LinkAttributes = { extendedMask: RTEXT_FILTER_VF, ...(name === undefined ? {} : { name }) };
  try {
    const [answer] = socket.request({
      type: RTM.GETLINK,
      payload: linkPayload().encode({ index, attributes }),
      doing: `look up ${describeLink(reference)}`,
    });
    if (!answer) return undefined;
    return withMasterName(decode(answer), (master) => readLink(socket, master)?.name);
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENODEV') return undefined;
    throw error;
  }
}

/**
 * The index of a link.
 *
 * @throws NetlinkError ENODEV when there is none
 */
export function indexOf(socket: NetlinkSocket, reference: LinkReference): number {
  const { index, name } = namedLink(reference);
  if (name === undefined) return index;
  const [answer] = socket.request(shortLookUp(name));
  return answer!.payload.readInt32LE(INDEX_OFFSET);
}

// struct ifinfomsg: family, pad, device type, index.
const INDEX_OFFSET = 4;

/** The request for a link without its counters. */
export function shortLookUp(name: string): NetlinkRequest {
  return {
    type: RTM.GETLINK,
    payload: linkPayload().encode({ attributes: { extendedMask: RTEXT_FILTER_SKIP_STATS, name } }),
    doing: `look up link '${name}'`,
  };
}

function withMasterName(link: Link, nameOf: (index: number) => string | undefined): Link {
  return link.masterIndex === undefined ? link : { ...link, master: nameOf(link.masterIndex) };
}

function decode(message: NetlinkMessage): Link {
  return toLink(linkPayload().decode(message.payload));
}

/** A link from a decoded RTM_NEWLINK message. */
export function toLink({ index, flags, attributes }: LinkHeader & { readonly attributes: LinkAttributes }): Link {
  return {
    index,
    name: attributes.name ?? '',
    alternativeNames: attributes.properties?.alternativeNames ?? [],
    kind: attributes.info?.kind,
    flags: flagNames.filter((flag) => (flags & IFF[flag]) !== 0),
    up: (flags & IFF.UP) !== 0,
    state: operStates[attributes.operState ?? 0] ?? 'UNKNOWN',
    mtu: attributes.mtu ?? 0,
    mac: attributes.address || undefined,
    master: undefined,
    masterIndex: attributes.master,
    parentIndex: attributes.link === 0 ? undefined : attributes.link,
    linkNetnsId: attributes.linkNetnsId,
    qdisc: attributes.qdisc,
    txQueueLength: attributes.txQueueLength,
    alias: attributes.alias,
    data: attributes.info?.data,
    port: attributes.info?.portData,
    addressGeneration: addressGenerationOf(attributes.addressFamilies),
    statistics: attributes.statistics,
  };
}
