import { AF } from '@ns/libc';
import { type NeighbourAttributes, NLM_F, NTF, NUD, neighbourPayload, parseIpAddress, RTM } from '@ns/netlink';
import { familyOf } from './cidr.ts';
import { optional } from './link/create.ts';
import { describeLink, indexOf, type LinkReference, readLink } from './link/link.ts';
import { type InNetns, withSocket } from './namespace-reference.ts';

/** State of a neighbour, as `ip neighbour` writes it. */
export type NeighbourState = keyof typeof NUD;

/** An entry of the ARP or neighbour discovery table. */
export interface Neighbour {
  readonly family: 'inet' | 'inet6';
  /** `dst` */
  readonly address: string;
  /** `dev` */
  readonly link: string;
  readonly index: number;
  /** `lladdr` */
  readonly mac: string | undefined;
  readonly state: readonly NeighbourState[];
  readonly flags: readonly (keyof typeof NTF)[];
}

/** An entry of a bridge's or vxlan's forwarding database. */
export interface FdbEntry {
  readonly mac: string;
  readonly link: string;
  readonly index: number;
  /** The other end of the tunnel, of a vxlan. */
  readonly destination: string | undefined;
  readonly vlan: number | undefined;
  /** Name of the bridge. */
  readonly master: string | undefined;
  readonly state: readonly NeighbourState[];
  readonly flags: readonly (keyof typeof NTF)[];
}

const AF_BRIDGE = 7;
const stateNames = Object.keys(NUD) as NeighbourState[];
const flagNames = Object.keys(NTF) as (keyof typeof NTF)[];

/** A neighbour to add. */
export interface NeighbourSpec extends InNetns {
  readonly address: string;
  readonly link: LinkReference;
  readonly mac: string;
  /** Default `PERMANENT`. */
  readonly state?: NeighbourState;
  /** Replace what is there instead of failing with EEXIST. */
  readonly replace?: boolean;
}

/** Adds an entry: RTM_NEWNEIGH. Needs CAP_NET_ADMIN. */
export async function add(neighbour: NeighbourSpec): Promise<void> {
  const { address, mac, state = 'PERMANENT' } = neighbour;
  withSocket(neighbour.netns, (socket) => {
    const payload = neighbourPayload.encode({
      family: familyOf(parseIpAddress(address)),
      index: indexOf(socket, neighbour.link),
      state: NUD[state],
      attributes: { destination: address, linkAddress: mac },
    });
    const flags = NLM_F.CREATE | (neighbour.replace ? NLM_F.REPLACE : NLM_F.EXCL);
    socket.request({
      type: RTM.NEWNEIGH,
      flags,
      payload,
      doing: `add neighbour ${address} on ${describeLink(neighbour.link)}`,
    });
  });
}

/** Removes an entry: RTM_DELNEIGH. ENOENT when there is none. */
export async function remove(
  neighbour: InNetns & { readonly address: string; readonly link: LinkReference },
): Promise<void> {
  const { address } = neighbour;
  withSocket(neighbour.netns, (socket) => {
    const payload = neighbourPayload.encode({
      family: familyOf(parseIpAddress(address)),
      index: indexOf(socket, neighbour.link),
      attributes: { destination: address },
    });
    socket.request({
      type: RTM.DELNEIGH,
      payload,
      doing: `remove neighbour ${address} of ${describeLink(neighbour.link)}`,
    });
  });
}

/** The ARP and neighbour discovery tables: RTM_GETNEIGH. Needs no privilege. */
export async function list(
  options: InNetns & { readonly link?: LinkReference; readonly family?: 'inet' | 'inet6' } = {},
): Promise<Neighbour[]> {
  const family = options.family === undefined ? 0 : options.family === 'inet' ? AF.INET : AF.INET6;
  const entries = await dump(family, options);
  return entries.map(({ header, attributes, link }) => ({
    family: header.family === AF.INET ? ('inet' as const) : ('inet6' as const),
    address: attributes.destination ?? '',
    link,
    index: header.index,
    mac: attributes.linkAddress,
    state: namesOf(stateNames, NUD, header.state),
    flags: namesOf(flagNames, NTF, header.flags),
  }));
}

/** A forwarding database entry to add or remove. */
export interface FdbSpec extends InNetns {
  /** `00:00:00:00:00:00` stands for every address not known, and may have several destinations. */
  readonly mac: string;
  readonly link: LinkReference;
  /** Address of the other end of a vxlan tunnel. */
  readonly destination?: string;
  /** Whose database: the link's own (`self`, default, for a vxlan) or its bridge's (`master`). */
  readonly database?: 'self' | 'master';
  /** The address stays at this port of the bridge, whatever other port it is heard from. Since 5.0. Default false. */
  readonly sticky?: boolean;
}

/** Adds an entry to the forwarding database, beside others for the same address: `bridge fdb append`. */
export async function appendFdb(entry: FdbSpec): Promise<void> {
  changeFdb(entry, RTM.NEWNEIGH, NLM_F.CREATE | NLM_F.APPEND, 'append');
}

/** Adds an entry to the forwarding database, or replaces the one of the same address: `bridge fdb replace`. */
export async function replaceFdb(entry: FdbSpec): Promise<void> {
  changeFdb(entry, RTM.NEWNEIGH, NLM_F.CREATE | NLM_F.REPLACE, 'replace');
}

/** Removes an entry of the forwarding database. */
export async function removeFdb(entry: FdbSpec): Promise<void> {
  changeFdb(entry, RTM.DELNEIGH, 0, 'remove');
}

function changeFdb(entry: FdbSpec, type: number, flags: number, verb: string): void {
  withSocket(entry.netns, (socket) => {
    const attributes: NeighbourAttributes = { linkAddress: entry.mac, ...optional({ destination: entry.destination }) };
    const payload = neighbourPayload.encode({
      family: AF_BRIDGE,
      index: indexOf(socket, entry.link),
      // The kernel takes PERMANENT for the port's own address, which cannot move in any case.
      state: entry.sticky ? NUD.NOARP : NUD.NOARP | NUD.PERMANENT,
      flags: (entry.database === 'master' ? NTF.MASTER : NTF.SELF) | (entry.sticky ? NTF.STICKY : 0),
      attributes,
    });
    socket.request({
      type,
      flags,
      payload,
      doing: `${verb} forwarding entry ${entry.mac} of ${describeLink(entry.link)}`,
    });
  });
}

/** The forwarding databases of bridges and vxlans: `bridge fdb show`. */
export async function listFdb(options: InNetns & { readonly link?: LinkReference } = {}): Promise<FdbEntry[]> {
  const entries = await dump(AF_BRIDGE, options);
  return entries.map(({ header, attributes, link, master }) => ({
    mac: attributes.linkAddress ?? '',
    link,
    index: header.index,
    destination: attributes.destination,
    vlan: attributes.vlan,
    master,
    state: namesOf(stateNames, NUD, header.state),
    flags: namesOf(flagNames, NTF, header.flags),
  }));
}

async function dump(family: number, options: InNetns & { readonly link?: LinkReference }) {
  return withSocket(options.netns, (socket) => {
    const wanted = options.link === undefined ? 0 : indexOf(socket, options.link);
    const names = new Map<number, string>();
    const nameOf = (index: number): string => {
      if (!names.has(index)) names.set(index, readLink(socket, index)?.name ?? '');
      return names.get(index)!;
    };
    return socket
      .dump({ type: RTM.GETNEIGH, payload: neighbourPayload.encode({ family }), doing: 'list neighbours' })
      .map((message) => neighbourPayload.decode(message.payload))
      .filter((header) => wanted === 0 || header.index === wanted)
      .map(({ attributes, ...header }) => ({
        header,
        attributes,
        link: nameOf(header.index),
        master: attributes.master === undefined ? undefined : nameOf(attributes.master),
      }));
  });
}

function namesOf<Name extends string>(
  names: readonly Name[],
  bits: Readonly<Record<Name, number>>,
  value: number,
): Name[] {
  return names.filter((name) => (value & bits[name]) !== 0);
}
