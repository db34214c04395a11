import { UnavailableError } from '@ns/libc';
import { type BridgeData, type BridgePortData, linkPayload, NetlinkError, type NetlinkRequest, RTM } from '@ns/netlink';
import { type InNetns, send, withSocket } from '../namespace-reference.ts';
import { describeLink, indexOf, type LinkReference, namedLink } from './link.ts';

/** Options of a bridge. What is left out stays as it is. */
export interface BridgeOptions {
  /** Spanning tree protocol. The kernel's default is off. */
  readonly stp?: boolean;
  /** Seconds after which a learnt address is forgotten, default 300. Precision 0.01. */
  readonly ageingTimeSec?: number;
  /** Seconds before a port forwards, 2 to 30, default 15; counts only with `stp`. */
  readonly forwardDelaySec?: number;
  readonly priority?: number;
  /** Let VLAN tags decide which ports see a frame. Needs CONFIG_BRIDGE_VLAN_FILTERING. */
  readonly vlanFiltering?: boolean;
  readonly vlanDefaultPvid?: number;
  /** IGMP and MLD snooping, default on. */
  readonly multicastSnooping?: boolean;
  /** Bits of IEEE 802.1D link-local groups to forward. */
  readonly groupForwardMask?: number;
  readonly nfCallIptables?: boolean;
  readonly nfCallIp6tables?: boolean;
}

// USER_HZ is 100 on every architecture Node runs on.
const USER_HZ = 100;

/** The kernel's words for the options. */
export function bridgeData(options: BridgeOptions): BridgeData {
  const {
    stp,
    ageingTimeSec,
    forwardDelaySec,
    priority,
    vlanFiltering,
    vlanDefaultPvid,
    multicastSnooping,
    groupForwardMask,
  } = options;
  return {
    ...(stp === undefined ? {} : { stpState: stp ? 1 : 0 }),
    ...(ageingTimeSec === undefined ? {} : { ageingTime: Math.round(ageingTimeSec * USER_HZ) }),
    ...(forwardDelaySec === undefined ? {} : { forwardDelay: Math.round(forwardDelaySec * USER_HZ) }),
    ...(priority === undefined ? {} : { priority }),
    ...(vlanFiltering === undefined ? {} : { vlanFiltering }),
    ...(vlanDefaultPvid === undefined ? {} : { vlanDefaultPvid }),
    ...(multicastSnooping === undefined ? {} : { multicastSnooping }),
    ...(groupForwardMask === undefined ? {} : { groupForwardMask }),
    ...(options.nfCallIptables === undefined ? {} : { nfCallIptables: options.nfCallIptables }),
    ...(options.nfCallIp6tables === undefined ? {} : { nfCallIp6tables: options.nfCallIp6tables }),
  };
}

/** Changes options of a bridge. */
export async function setBridge(bridge: LinkReference, options: BridgeOptions & InNetns): Promise<void> {
  withSocket(options.netns, (socket) => {
    const index = indexOf(socket, bridge);
    const payload = linkPayload().encode({
      index,
      attributes: { info: { kind: 'bridge', data: bridgeData(options) } },
    });
    try {
      socket.request({ type: RTM.NEWLINK, payload, doing: `change bridge ${describeLink(bridge)}` });
    } catch (error) {
      if (error instanceof NetlinkError && error.code === 'EOPNOTSUPP' && options.vlanFiltering !== undefined) {
        throw new UnavailableError(
          'vlan filtering of bridges',
          'the kernel is built without it',
          'Build the kernel with CONFIG_BRIDGE_VLAN_FILTERING',
        );
      }
      throw error;
    }
  });
}

/** Options of a bridge port that can be changed. */
export type BridgePortOptions = Omit<BridgePortData, 'unknown'>;

/**
 * Changes options of a port, as `bridge link set` does: `hairpin` (frames may go back where they came from), `isolated`
 * (reaches no other isolated port), `learning`, `unicastFlood`, `state`, ...
 *
 * @throws NetlinkError when the link is no port of a bridge
 */
export async function setBridgePort(port: LinkReference, options: BridgePortOptions & InNetns): Promise<void> {
  const { netns, ...portData } = options;
  send(netns, bridgePortRequest(port, portData));
}

/** The request behind {@link setBridgePort}. */
export function bridgePortRequest(port: LinkReference, portData: BridgePortOptions): NetlinkRequest {
  const { index, name } = namedLink(port);
  const attributes = { ...(name === undefined ? {} : { name }), info: { portKind: 'bridge', portData } };
  return {
    type: RTM.NEWLINK,
    payload: linkPayload().encode({ index, attributes }),
    doing: `change bridge port ${describeLink(port)}`,
  };
}
