import { randomBytes } from 'node:crypto';
import type { OwnedFd } from '@ns/libc';
import { SpecError, UnavailableError } from '@ns/libc';
import {
  IFF,
  type LinkAttributes,
  type LinkDataByKind,
  type LinkPayload,
  linkPayload,
  NetlinkError,
  type NetlinkSocket,
  NLM_F,
  RTM,
} from '@ns/netlink';
import { type InNetns, type NetnsReference, openReference, withSocket } from '../namespace-reference.ts';
import { type BridgeOptions, bridgeData } from './bridge.ts';
import { setUpIn } from './change.ts';
import { checkLinkName, indexOf, type Link, type LinkReference, readLink } from './link.ts';

/** What every new link can be given in the same request that makes it. */
export interface NewLink extends InNetns {
  /** 1 to 15 bytes. */
  readonly name: string;
  /** Default: the kernel chooses a random one. */
  readonly mac?: string;
  /** Bytes; default: the kind's own. */
  readonly mtu?: number;
  /** Up from the start. Default false: down, as the kernel makes it. */
  readonly up?: boolean;
  /** Make it a port of this bridge. */
  readonly master?: LinkReference;
  readonly alias?: string;
  /** Number of transmit queues. */
  readonly numTxQueues?: number;
  readonly numRxQueues?: number;
}

/** The other end of a veth. */
export interface VethPeer {
  readonly name: string;
  /** Where the other end goes; default: the same namespace. */
  readonly netns?: NetnsReference;
  readonly mac?: string;
  readonly mtu?: number;
  readonly up?: boolean;
}

/** A random locally administered unicast address: `02:…`, never one of a manufacturer. */
export function randomMac(): string {
  return ['02', ...randomBytes(5).toString('hex').match(/../g)!].join(':');
}

/**
 * Makes a veth pair, with the other end in another network namespace if wanted, in one request.
 *
 * @returns the end that is here
 * @throws NetlinkError EEXIST when a name is taken, EPERM without CAP_NET_ADMIN in both namespaces
 *
 * @example
 * await link.createVeth({ name: 'veth0', master: 'br0', up: true, peer: { name: 'eth0', netns, up: true } });
 */
export async function createVeth(options: NewLink & { readonly peer: VethPeer }): Promise<Link> {
  const { peer } = options;
  checkLinkName(peer.name, 'peer.name');
  using target = peer.netns === undefined ? undefined : openReference(peer.netns, 'peer.netns');
  const payload: LinkPayload = {
    attributes: { name: peer.name, ...optional({ address: peer.mac, mtu: peer.mtu, netnsFd: target?.fd }) },
  };
  const made = create(options, 'veth', () => ({ peer: payload }));
  // Not part of the request: the peer is made first, and a veth without its other end cannot go up (ENOTCONN).
  if (peer.up) withSocket(peer.netns ?? options.netns, (socket) => setUpIn(socket, peer.name));
  return made;
}

/** Makes a bridge. */
export async function createBridge(options: NewLink & BridgeOptions): Promise<Link> {
  return create(options, 'bridge', () => bridgeData(options));
}

/** Makes a dummy: a link that swallows what is sent. */
export async function createDummy(options: NewLink): Promise<Link> {
  return create(options, 'dummy', () => undefined);
}

/** A link on top of another. */
export interface NewUpperLink extends NewLink {
  /** The link below, in the namespace `netns`. */
  readonly parent: LinkReference;
  /** Where the new link goes; default: beside its parent. */
  readonly target?: NetnsReference;
}

const macvlanModes = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;

/** Makes a macvlan: a link with its own MAC address on top of another. `mode` defaults to `bridge`. */
export async function createMacvlan(
  options: NewUpperLink & { readonly mode?: keyof typeof macvlanModes },
): Promise<Link> {
  return create(options, 'macvlan', () => ({ mode: macvlanModes[options.mode ?? 'bridge'] }));
}

const ipvlanModes = { l2: 0, l3: 1, l3s: 2 } as const;
const ipvlanFlags = { bridge: 0, private: 1, vepa: 2 } as const;

/** Makes an ipvlan: shares the MAC address of the link below. `mode` defaults to `l2`, `isolation` to `bridge`. Needs CONFIG_IPVLAN. */
export async function createIpvlan(
  options: NewUpperLink & { readonly mode?: keyof typeof ipvlanModes; readonly isolation?: keyof typeof ipvlanFlags },
): Promise<Link> {
  return create(options, 'ipvlan', () => ({
    mode: ipvlanModes[options.mode ?? 'l2'],
    flags: ipvlanFlags[options.isolation ?? 'bridge'],
  }));
}

const vlanProtocols = { '802.1Q': 0x8100, '802.1ad': 0x88a8 } as const;

/** Makes a VLAN link. Needs CONFIG_VLAN_8021Q. */
export async function createVlan(
  options: NewUpperLink & { readonly id: number; readonly protocol?: keyof typeof vlanProtocols },
): Promise<Link> {
  if (!Number.isInteger(options.id) || options.id < 1 || options.id > 4094)
    throw new SpecError('id', 'a VLAN id from 1 to 4094', options.id);
  return create(options, 'vlan', () => ({ id: options.id, protocol: vlanProtocols[options.protocol ?? '802.1Q'] }));
}

/** A VXLAN tunnel end. */
export interface NewVxlan extends NewLink {
  /** VXLAN network identifier, 24 bits. */
  readonly id: number;
  /** Address the tunnel's packets come from. */
  readonly local?: string;
  /** Where frames for unknown addresses go: one host, or a multicast group (then `parent` is needed). More hosts: `neighbour.appendFdb`. */
  readonly remote?: string;
  /** Link the tunnel's packets leave by. */
  readonly parent?: LinkReference;
  /** UDP port, default 4789 (IANA). */
  readonly port?: number;
  /** Learn where addresses are from the frames that arrive. Default true. */
  readonly learning?: boolean;
  readonly ttl?: number;
  readonly target?: NetnsReference;
}

/** Makes a VXLAN tunnel end. Needs CONFIG_VXLAN. */
export async function createVxlan(options: NewVxlan): Promise<Link> {
  const { id, local, remote, port = 4789, learning = true, ttl } = options;
  if (!Number.isInteger(id) || id < 0 || id >= 1 << 24)
    throw new SpecError('id', 'a VXLAN identifier from 0 to 16777215', id);
  return create(options, 'vxlan', (socket) => ({
    id,
    ...optional({
      [local?.includes(':') ? 'local6' : 'local']: local,
      [remote?.includes(':') ? 'group6' : 'group']: remote,
      link: options.parent === undefined ? undefined : indexOf(socket, options.parent),
      ttl,
    }),
    port,
    learning,
  }));
}

/** Sends the request that makes a link of any kind, and reads back what came of it. */
function create(
  options: NewLink & { readonly parent?: LinkReference; readonly target?: NetnsReference },
  kind: string,
  dataOf: (socket: NetlinkSocket) => LinkDataByKind[keyof LinkDataByKind] | undefined,
): Link {
  const name = checkLinkName(options.name);
  using target = options.target === undefined ? undefined : openReference(options.target, 'target');
  const made = withSocket(options.netns, (socket) => {
    const data = dataOf(socket);
    const attributes: LinkAttributes = {
      name,
      ...optional({
        address: options.mac,
        mtu: options.mtu,
        alias: options.alias,
        numTxQueues: options.numTxQueues,
        numRxQueues: options.numRxQueues,
        // A vxlan names the link below in its data.
        link: options.parent === undefined || kind === 'vxlan' ? undefined : indexOf(socket, options.parent),
        master: options.master === undefined ? undefined : indexOf(socket, options.master),
        netnsFd: target?.fd,
      }),
      info: { kind, ...optional({ data }) },
    };
    request(socket, kind, name, { ...upFlags(options.up), attributes });
    return target === undefined ? readLink(socket, name) : undefined;
  });
  return made ?? readMoved(target!, name);
}

function readMoved(target: OwnedFd, name: string): Link {
  return withSocket({ fd: target }, (socket) => readLink(socket, name)!);
}

function request(socket: NetlinkSocket, kind: string, name: string, payload: LinkPayload): void {
  try {
    socket.request({
      type: RTM.NEWLINK,
      flags: NLM_F.CREATE | NLM_F.EXCL,
      payload: linkPayload().encode(payload),
      doing: `create ${kind} '${name}'`,
    });
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'EOPNOTSUPP' && error.kernelMessage === 'Unknown device type') {
      throw new UnavailableError(
        `the link kind ${kind}`,
        'the kernel has no driver for them',
        `Load the module ${kind}, or build the kernel with its driver`,
      );
    }
    throw error;
  }
}

function upFlags(up: boolean | undefined): { flags: number; change: number } {
  return up ? { flags: IFF.UP, change: IFF.UP } : { flags: 0, change: 0 };
}

/** The fields that have a value: an attribute that is `undefined` must not be sent. */
export function optional<Fields extends object>(
  fields: Fields,
): { [Key in keyof Fields]?: Exclude<Fields[Key], undefined> } {
  const present: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) present[name] = value;
  return present as never;
}
