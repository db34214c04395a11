import { SpecError } from '@ns/libc';
import {
  IFF,
  type LinkAttributes,
  linkPayload,
  NetlinkError,
  type NetlinkRequest,
  type NetlinkSocket,
  NLM_F,
  RTM,
} from '@ns/netlink';
import {
  type InNetns,
  type NetnsReference,
  openReference,
  openSocket,
  send,
  withSocket,
} from '../namespace-reference.ts';
import { type AddressGeneration, isAddressGeneration, withAddressGeneration } from './address-generation.ts';
import { checkLinkName, describeLink, indexOf, type LinkReference, namedLink } from './link.ts';

/* RTM_NEWLINK on a link that exists. Each change needs CAP_NET_ADMIN in the user namespace that owns the network namespace. */

/** The request that changes a link. */
function change(
  reference: LinkReference,
  doing: string,
  fields: { flags?: number; change?: number; attributes?: LinkAttributes },
): NetlinkRequest {
  const { index, name } = namedLink(reference);
  const attributes: LinkAttributes = { ...(name === undefined ? {} : { name }), ...fields.attributes };
  return { type: RTM.NEWLINK, payload: linkPayload().encode({ index, ...fields, attributes }), doing };
}

/** The request behind {@link setUp}. */
export function setUpRequest(reference: LinkReference): NetlinkRequest {
  return change(reference, `set ${describeLink(reference)} up`, { flags: IFF.UP, change: IFF.UP });
}

/** {@link setUp} with an open socket. */
export function setUpIn(socket: NetlinkSocket, reference: LinkReference): void {
  socket.request(setUpRequest(reference));
}

/** Sets a link up: IFF_UP. */
export async function setUp(link: LinkReference, options: InNetns = {}): Promise<void> {
  send(options.netns, setUpRequest(link));
}

/** Sets a link down. Its routes go with it. */
export async function setDown(link: LinkReference, options: InNetns = {}): Promise<void> {
  send(options.netns, change(link, `set ${describeLink(link)} down`, { flags: 0, change: IFF.UP }));
}

/** Renames a link. Before Linux 6.3 it must be down. */
export async function rename(link: LinkReference, name: string, options: InNetns = {}): Promise<void> {
  checkLinkName(name);
  withSocket(options.netns, (socket) => {
    // The new name takes the place of the old one in the message, so the index has to say which link is meant.
    const index = indexOf(socket, link);
    socket.request(change(index, `rename ${describeLink(link)} to '${name}'`, { attributes: { name } }));
  });
}

/**
 * Moves a link to another network namespace, down and without addresses. `lo` and some physical devices cannot move.
 *
 * @param target - where to
 * @param options - `netns` is where the link is now, `name` what it is called there
 */
export async function moveToNetns(
  link: LinkReference,
  target: NetnsReference,
  options: InNetns & { readonly name?: string } = {},
): Promise<void> {
  using fd = openReference(target, 'target');
  withSocket(options.netns, (socket) => {
    const index = indexOf(socket, link);
    const name = options.name === undefined ? {} : { name: checkLinkName(options.name) };
    socket.request(
      change(index, `move ${describeLink(link)} to another network namespace`, {
        attributes: { ...name, netnsFd: fd.fd },
      }),
    );
  });
}

/** Sets the link-layer address. */
export async function setMac(link: LinkReference, mac: string, options: InNetns = {}): Promise<void> {
  send(
    options.netns,
    change(link, `set the address of ${describeLink(link)} to ${mac}`, { attributes: { address: mac } }),
  );
}

/** Sets the MTU, in bytes. */
export async function setMtu(link: LinkReference, mtuBytes: number, options: InNetns = {}): Promise<void> {
  send(
    options.netns,
    change(link, `set the MTU of ${describeLink(link)} to ${mtuBytes}`, { attributes: { mtu: mtuBytes } }),
  );
}

/** Sets the description that `ip link` shows as `alias`. */
export async function setAlias(link: LinkReference, alias: string, options: InNetns = {}): Promise<void> {
  send(options.netns, change(link, `set the alias of ${describeLink(link)}`, { attributes: { alias } }));
}

/** Sets the length of the transmit queue, in packets. */
export async function setTxQueueLength(link: LinkReference, packets: number, options: InNetns = {}): Promise<void> {
  send(
    options.netns,
    change(link, `set the queue length of ${describeLink(link)}`, { attributes: { txQueueLength: packets } }),
  );
}

/** The request that puts a link into a group, of which all can be changed or removed at once. */
export function groupRequest(link: LinkReference, group: number): NetlinkRequest {
  return change(link, `put ${describeLink(link)} into group ${group}`, { attributes: { group } });
}

/** Makes a link a port of a master (a bridge). `null` takes it out. */
export async function setMaster(
  link: LinkReference,
  master: LinkReference | null,
  options: InNetns = {},
): Promise<void> {
  withSocket(options.netns, (socket) => {
    const doing =
      master === null
        ? `take ${describeLink(link)} out of its master`
        : `make ${describeLink(link)} a port of ${describeLink(master)}`;
    socket.request(change(link, doing, { attributes: { master: master === null ? 0 : indexOf(socket, master) } }));
  });
}

/** The request behind {@link setAddressGeneration}. */
export function addressGenerationRequest(link: LinkReference, generation: AddressGeneration): NetlinkRequest {
  if (!isAddressGeneration(generation))
    throw new SpecError('generation', 'eui64, none, stable_secret or random', generation);
  const attributes = { addressFamilies: withAddressGeneration(generation) };
  return change(link, `set how ${describeLink(link)} comes by its link-local address`, { attributes });
}

/**
 * Sets how a link comes by its IPv6 link-local address, the next time it goes up; `none`: not at all, and while it has no other
 * address, nothing is said on it unasked (no duplicate address test, no search for routers).
 *
 * @throws NetlinkError EAFNOSUPPORT when the link has no IPv6
 */
export async function setAddressGeneration(
  link: LinkReference,
  generation: AddressGeneration,
  options: InNetns = {},
): Promise<void> {
  send(options.netns, addressGenerationRequest(link, generation));
}

/** The request behind {@link remove}. */
export function removeLinkRequest(link: LinkReference): NetlinkRequest {
  const { index, name } = namedLink(link);
  const attributes: LinkAttributes = name === undefined ? {} : { name };
  return {
    type: RTM.DELLINK,
    payload: linkPayload().encode({ index, attributes }),
    doing: `remove ${describeLink(link)}`,
  };
}

/** Removes a link; removing one end of a veth removes both. */
export async function remove(
  link: LinkReference,
  options: InNetns & { readonly ifMissing?: 'error' | 'ignore' } = {},
): Promise<void> {
  const request = removeLinkRequest(link);
  // A socket of its own: others may want the namespace's while the kernel takes its time.
  using socket = openSocket(options.netns);
  try {
    await socket.requestInBackground(request);
  } catch (error) {
    if (!(options.ifMissing === 'ignore' && error instanceof NetlinkError && error.code === 'ENODEV')) throw error;
  }
}

/** Adds an alternative name, up to 127 bytes. Since 5.5. */
export async function addAlternativeName(
  link: LinkReference,
  alternativeName: string,
  options: InNetns = {},
): Promise<void> {
  withSocket(options.netns, (socket) =>
    socket.request(alternativeNameRequest(RTM.NEWLINKPROP, indexOf(socket, link), alternativeName)),
  );
}

/** Removes an alternative name. */
export async function removeAlternativeName(
  link: LinkReference,
  alternativeName: string,
  options: InNetns = {},
): Promise<void> {
  withSocket(options.netns, (socket) =>
    socket.request(alternativeNameRequest(RTM.DELLINKPROP, indexOf(socket, link), alternativeName)),
  );
}

function alternativeNameRequest(type: number, index: number, alternativeName: string): NetlinkRequest {
  return {
    type,
    flags: type === RTM.NEWLINKPROP ? NLM_F.CREATE | NLM_F.EXCL | NLM_F.APPEND : 0,
    payload: linkPayload().encode({ index, attributes: { properties: { alternativeNames: [alternativeName] } } }),
    doing: `change the alternative name '${alternativeName}' of link ${index}`,
  };
}
