import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  type ConnectionAttributes,
  connectionPayload,
  conntrackType,
  NETLINK,
  NetlinkError,
  type NetlinkMessage,
  type NetlinkSocket,
  parseIpAddress,
} from '@ns/netlink';
import { protocolOf } from '../firewall/set-elements.ts';
import { addressText, type Subnet } from '../ipam/subnet.ts';
import { type InNetns, openSocket } from '../namespace-reference.ts';
import { type Destination, isIn } from './policy-rules.ts';

/** Which connections. */
export interface CutOptions extends InNetns {
  /** Begun from here. */
  readonly from: readonly Subnet[];
  readonly refused: (destination: Destination) => boolean;
}

/**
 * Makes the kernel forget connections: their next packet begins a new one, which the rules are asked about. Needs
 * CAP_NET_ADMIN, and CONFIG_NF_CT_NETLINK.
 */
export async function cutConnections({ netns, from, refused }: CutOptions): Promise<void> {
  await cutThose(netns, from, (ends) => isIn(ends.source, from) && refused(ends));
}

/**
 * Makes the kernel forget all connections from and to addresses that are about to be somebody's: by those of who had them
 * before, their packets would be taken for answers, which no rule refuses. What is needed is as for {@link cutConnections}.
 */
export async function forgetConnections({ netns, of }: InNetns & { readonly of: readonly Subnet[] }): Promise<void> {
  await cutThose(netns, of, ({ source, destination }) => isIn(source, of) || isIn(destination, of));
}

type Ends = Destination & { readonly source: string };

/** How many are looked at in one turn of the event loop. */
const CONNECTIONS_IN_A_ROW = 256;

/** @param near - each of those has an address in one of them */
async function cutThose(
  netns: InNetns['netns'],
  near: readonly Subnet[],
  which: (ends: Ends) => boolean,
): Promise<void> {
  using socket = openSocket(netns, { protocol: NETLINK.NETFILTER });
  const prefixes = near.map(wholeBytesOf);
  let looked = 0;
  for (const message of await listConnections(socket)) {
    // To decode all that a busy host has would take a second.
    if (!prefixes.some((prefix) => message.payload.includes(prefix))) continue;
    if (++looked % CONNECTIONS_IN_A_ROW === 0) await nextTurn();
    const { family, attributes } = connectionPayload.decode(message.payload);
    const ends = endsOf(attributes);
    if (ends && which(ends)) cut(socket, family, attributes);
  }
}

/** What all addresses of a subnet begin with. */
function wholeBytesOf({ family, first, prefixLength }: Subnet): Buffer {
  return parseIpAddress(addressText(first, family)).subarray(0, prefixLength / 8);
}

async function listConnections(socket: NetlinkSocket): Promise<NetlinkMessage[]> {
  const payload = connectionPayload.encode({});
  try {
    // A busy host tracks hundreds of thousands.
    return await socket.dumpInTurns({ type: conntrackType('GET'), payload, doing: 'list connections' });
  } catch (error) {
    // The answer of a kernel that does not know this kind of message.
    if (!(error instanceof NetlinkError) || error.code !== 'EINVAL') throw error;
    process.emitWarning('connections that began under other rules go on: the kernel does not list them', {
      code: 'NS_EGRESS_CONNECTIONS',
      detail: 'Use a kernel with CONFIG_NF_CT_NETLINK',
    });
    return [];
  }
}

/** Where it comes from, and where it goes after address translation, which is what the rules see. */
function endsOf({ original, reply }: ConnectionAttributes): Ends | undefined {
  const source = original?.addresses?.source4 ?? original?.addresses?.source6;
  const destination = reply?.addresses?.source4 ?? reply?.addresses?.source6;
  if (source === undefined || destination === undefined) return undefined;
  const { number = 0, sourcePort: port } = reply?.protocol ?? {};
  return { source, destination, protocol: protocolOf(number), port };
}

function cut(socket: NetlinkSocket, family: number, { original, id }: ConnectionAttributes): void {
  try {
    socket.request({
      type: conntrackType('DELETE'),
      payload: connectionPayload.encode({
        family,
        attributes: { ...(original && { original }), ...(id !== undefined && { id }) },
      }),
      doing: 'cut a connection',
    });
  } catch (error) {
    // It ended by itself.
    if (!(error instanceof NetlinkError) || error.code !== 'ENOENT') throw error;
  }
}
