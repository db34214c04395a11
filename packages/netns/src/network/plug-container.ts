import {
  type BatchOutcome,
  findAttribute,
  IFF,
  IFLA,
  linkPayload,
  type NetlinkError,
  type NetlinkSocket,
  NLM_F,
  RTM,
} from '@ns/netlink';
import { addressRequest } from '../address.ts';
import type { AddressPool } from '../ipam/address-pool.ts';
import { bridgePortRequest } from '../link/bridge.ts';
import { setUpRequest } from '../link/change.ts';
import { checkLinkName, shortLookUp } from '../link/link.ts';
import type { NetnsReference } from '../namespace-reference.ts';
import type { NetNamespace } from '../net-namespace.ts';
import { routeRequest } from '../route.ts';
import { digest, type Endpoint, type NetworkRecord } from './network-state.ts';
import { believeNoRouter, switchIpv6Off } from './quiet-link.ts';

/** Where a container is plugged in. */
export interface NetworkSide {
  /** The bridge's namespace. */
  readonly netns: NetnsReference | undefined;
  /** An rtnetlink socket there. */
  readonly socket: NetlinkSocket;
  /** Index of the bridge. */
  readonly bridgeIndex: number;
  readonly record: NetworkRecord;
  readonly pools: readonly AddressPool[];
}

/**
 * Makes a container's link: a veth with one end in the bridge, addresses, and the way out. Two messages to the
 * kernel: one of what happens on the side of the bridge, one of what happens inside.
 *
 * @throws LinkNameTakenError when there is a link of that name inside
 * @param wayOut - gateways to route everything through; none for a network that is not the way out
 */
export function plugContainer(
  into: NetworkSide,
  endpoint: Endpoint,
  inside: NetNamespace,
  wayOut: readonly string[],
): void {
  const { socket, pools, record } = into;
  const { hostLink, link, mac } = endpoint;
  const { mtu } = record;
  const peer = {
    attributes: { name: checkLinkName(link, 'link'), address: mac, mtu, netnsFd: inside.fd, ...oneQueue },
  };
  const veth = {
    type: RTM.NEWLINK,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    payload: linkPayload().encode({
      flags: IFF.UP,
      change: IFF.UP,
      attributes: {
        name: hostLink,
        mtu,
        master: into.bridgeIndex,
        ...oneQueue,
        info: { kind: 'veth', data: { peer } },
      },
    }),
    doing: `create veth '${hostLink}'`,
  };
  // hairpin: with br_netfilter, a container's own published port comes back through the port it left by.
  // learning: with a policy of its own its one MAC address is pinned, and it is not to say where others are.
  const port = bridgePortRequest(hostLink, {
    hairpin: true,
    isolated: !record.icc,
    learning: endpoint.egress === undefined,
  });
  const [made, opened, found] = socket.exchange([veth, port, shortLookUp(hostLink)]);
  // The name on this side is ours alone, so it is the one inside that is taken.
  if (made?.error?.code === 'EEXIST') throw new LinkNameTakenError(made.error);
  for (const outcome of [made, opened, found]) failOn(outcome);
  // IP is the bridge's: a port takes part in none, and would be asked by some frames (see the firewall's ruleset).
  switchIpv6Off(hostLink, into.netns);
  const index = otherEnd(found!.answers[0]!.payload);

  const addresses = pools.map((pool) => {
    const six = pool.subnet.family === 'inet6';
    const own = `${six ? endpoint.address6 : endpoint.address}/${pool.subnet.prefixLength}`;
    // Switched off inside (net.ipv6.conf.all.disable_ipv6): the container has no use for the address.
    return { request: addressRequest(index, own, { nodad: six }), mayFail: six ? ['EACCES'] : never };
  });
  const routes = wayOut.map((via) => ({
    request: routeRequest(inside.socket, RTM.NEWROUTE, NLM_F.CREATE | NLM_F.REPLACE, {
      to: 'default',
      via,
      link: index,
    }),
    mayFail: via.includes(':') ? ('anyhow' as const) : never,
  }));
  const quieten = pools.some(({ subnet }) => subnet.family === 'inet6') ? believeNoRouter : switchIpv6Off;
  quieten(link, inside);
  const steps = [...addresses, { request: setUpRequest(index), mayFail: never }, ...routes];
  const outcomes = inside.socket.exchange(steps.map(({ request }) => request));
  for (const [step, { mayFail }] of steps.entries()) failOn(outcomes[step], mayFail);
}

// The kernel would make a queue for each processor, and take all but one away again.
const oneQueue = { numTxQueues: 1, numRxQueues: 1 } as const;

/** A veth names its other end, by its index over there. Only this one attribute is read: there are fifty. */
function otherEnd(link: Buffer): number {
  return findAttribute(link.subarray(LINK_HEADER_SIZE), IFLA.LINK)!.readUInt32LE(0);
}

// struct ifinfomsg
const LINK_HEADER_SIZE = 16;

/** Another link inside has the name. */
export class LinkNameTakenError extends Error {
  constructor(cause: NetlinkError) {
    super(cause.message, { cause });
  }
}

const never: readonly string[] = [];

function failOn(outcome: BatchOutcome | undefined, mayFail: 'anyhow' | readonly string[] = never): void {
  const error = outcome?.error;
  if (error && mayFail !== 'anyhow' && !mayFail.includes(error.code)) throw error;
}

/** `02:42:` and the IPv4 address, as Docker does; for IPv6 alone, digits of the owner. */
export function macFor(address: string, owner: string): string {
  const tail = address.includes(':')
    ? (digest(owner).slice(0, 8).match(/../g) as string[])
    : address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'));
  return ['02', '42', ...tail].join(':');
}

/** The first of eth0, eth1, ... that is free inside. */
export function freeLinkName({ socket }: NetNamespace): string {
  for (let number = 0; ; number++) {
    const name = `eth${number}`;
    const [outcome] = socket.exchange([shortLookUp(name)]);
    if (outcome?.error?.code === 'ENODEV') return name;
    failOn(outcome);
  }
}
