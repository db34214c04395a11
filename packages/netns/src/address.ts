import { AF, SpecError } from '@ns/libc';
import {
  type AddressAttributes,
  addressPayload,
  formatIpAddress,
  IFA_F,
  type NetlinkRequest,
  type NetlinkSocket,
  NLM_F,
  RTM,
} from '@ns/netlink';
import { parseCidr } from './cidr.ts';
import { optional } from './link/create.ts';
import { describeLink, indexOf, type LinkReference, readLink } from './link/link.ts';
import { scopes } from './names.ts';
import { type InNetns, withSocket } from './namespace-reference.ts';

/** An address of a link, with what `ip address` knows. */
export interface Address {
  /** `inet` or `inet6` */
  readonly family: 'inet' | 'inet6';
  /** `local` */
  readonly address: string;
  /** `prefixlen` */
  readonly prefixLength: number;
  /** The other end of a point-to-point link. */
  readonly peer: string | undefined;
  readonly broadcast: string | undefined;
  /** `global`, `site`, `link`, `host`, or a number. */
  readonly scope: string;
  readonly label: string | undefined;
  /** Index of the link. */
  readonly index: number;
  /** Name of the link. */
  readonly link: string;
  /** Names of IFA_F bits. A duplicate address test still runs while `TENTATIVE` is among them. */
  readonly flags: readonly (keyof typeof IFA_F)[];
  /** Seconds; `Infinity` is for ever. */
  readonly validSec: number;
  readonly preferredSec: number;
}

/** What can be said about a new address. */
export interface AddressOptions extends InNetns {
  /** Default: of IPv4 subnets up to /30 the last address; `null` for none. */
  readonly broadcast?: string | null;
  readonly peer?: string;
  readonly label?: string;
  /** Default `global`, for loopback addresses `host`. */
  readonly scope?: string | number;
  /** Skip the duplicate address test of IPv6, so that the address works at once. */
  readonly nodad?: boolean;
  /** Do not add the route to the subnet. */
  readonly noPrefixRoute?: boolean;
  /** Replace an address that is there instead of failing with EEXIST. */
  readonly replace?: boolean;
}

const FOREVER = 0xffffffff;
const flagNames = Object.keys(IFA_F) as (keyof typeof IFA_F)[];

/** The request behind {@link add}. */
export function addressRequest(index: number, cidr: string, options: AddressOptions): NetlinkRequest {
  const { address, prefixLength, family, bytes } = parseCidr(cidr, 'address');
  const loopback = family === AF.INET ? bytes[0] === 127 : address === '::1';
  const scope = scopes.numberOf(options.scope ?? (loopback ? 'host' : 'global'));
  if (scope === undefined) throw new SpecError('scope', 'global, site, link, host or a number', options.scope);
  const flags = (options.nodad ? IFA_F.NODAD : 0) | (options.noPrefixRoute ? IFA_F.NOPREFIXROUTE : 0);
  const attributes: AddressAttributes = {
    local: address,
    address: options.peer ?? address,
    ...optional({
      broadcast: family === AF.INET && !loopback ? broadcastOf(bytes, prefixLength, options.broadcast) : undefined,
      label: options.label,
      flags: flags === 0 ? undefined : flags,
    }),
  };
  return {
    type: RTM.NEWADDR,
    flags: NLM_F.CREATE | (options.replace ? NLM_F.REPLACE : NLM_F.EXCL),
    payload: addressPayload.encode({ family, prefixLength, scope, index, flags: flags & 0xff, attributes }),
    doing: `add address ${cidr} to link ${index}`,
  };
}

function broadcastOf(bytes: Buffer, prefixLength: number, wanted: string | null | undefined): string | undefined {
  if (wanted === null) return undefined;
  // RFC 3021: a /31 has no broadcast address.
  if (wanted !== undefined || prefixLength > 30) return wanted;
  const hostBits = 2 ** (32 - prefixLength) - 1;
  const last = Buffer.alloc(4);
  last.writeUInt32BE((bytes.readUInt32BE(0) | hostBits) >>> 0);
  return formatIpAddress(last);
}

/**
 * Adds an address to a link: RTM_NEWADDR. Needs CAP_NET_ADMIN.
 *
 * @param cidr - `10.0.0.2/24`, `fd00::2/64`
 * @throws NetlinkError EEXIST when the link has it, EACCES for IPv6 on a link where it is switched off
 */
export async function add(link: LinkReference, cidr: string, options: AddressOptions = {}): Promise<void> {
  withSocket(options.netns, (socket) => {
    const request = addressRequest(indexOf(socket, link), cidr, options);
    socket.request({ ...request, doing: `add address ${cidr} to ${describeLink(link)}` });
  });
}

/**
 * Removes an address: RTM_DELADDR.
 *
 * @throws NetlinkError EADDRNOTAVAIL when the link does not have it
 */
export async function remove(link: LinkReference, cidr: string, options: InNetns = {}): Promise<void> {
  const { address, prefixLength, family } = parseCidr(cidr, 'address');
  withSocket(options.netns, (socket) => {
    const index = indexOf(socket, link);
    const payload = addressPayload.encode({ family, prefixLength, index, attributes: { local: address, address } });
    socket.request({ type: RTM.DELADDR, payload, doing: `remove address ${cidr} from ${describeLink(link)}` });
  });
}

/** Addresses of all links, or of one: RTM_GETADDR. Needs no privilege. */
export async function list(
  options: InNetns & { readonly link?: LinkReference; readonly family?: 'inet' | 'inet6' } = {},
): Promise<Address[]> {
  return withSocket(options.netns, (socket) => listIn(socket, options));
}

function listIn(
  socket: NetlinkSocket,
  options: { readonly link?: LinkReference; readonly family?: 'inet' | 'inet6' },
): Address[] {
  const family = options.family === undefined ? 0 : options.family === 'inet' ? AF.INET : AF.INET6;
  // The kernel filters by index only since 4.20.
  const index = options.link === undefined ? 0 : indexOf(socket, options.link);
  const names = new Map<number, string>();
  const nameOf = (linkIndex: number): string => {
    if (!names.has(linkIndex)) names.set(linkIndex, readLink(socket, linkIndex)?.name ?? '');
    return names.get(linkIndex)!;
  };
  return socket
    .dump({ type: RTM.GETADDR, payload: addressPayload.encode({ family, index }), doing: 'list addresses' })
    .map((message) => addressPayload.decode(message.payload))
    .filter((decoded) => index === 0 || decoded.index === index)
    .map(({ attributes, ...header }) => {
      const { local, address = '', lifetime } = attributes;
      const flags = attributes.flags ?? header.flags;
      return {
        family: header.family === AF.INET ? ('inet' as const) : ('inet6' as const),
        address: local ?? address,
        prefixLength: header.prefixLength,
        peer: local !== undefined && local !== address ? address : undefined,
        broadcast: attributes.broadcast,
        scope: scopes.nameOf(header.scope),
        label: attributes.label,
        index: header.index,
        link: nameOf(header.index),
        flags: flagNames.filter((flag) => (flags & IFA_F[flag]) !== 0),
        validSec: seconds(lifetime?.valid),
        preferredSec: seconds(lifetime?.preferred),
      };
    });
}

function seconds(lifetime = FOREVER): number {
  return lifetime === FOREVER ? Number.POSITIVE_INFINITY : lifetime;
}

/** Removes all addresses of a link, or those of one family. */
export async function flush(
  link: LinkReference,
  options: InNetns & { readonly family?: 'inet' | 'inet6' } = {},
): Promise<void> {
  // Backwards: removing the first address of an IPv4 subnet takes its secondary ones along.
  const found = (await list({ ...options, link })).reverse();
  for (const { address, prefixLength } of found) await remove(link, `${address}/${prefixLength}`, options);
}
