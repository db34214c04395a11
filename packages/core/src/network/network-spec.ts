import { SpecError, UnavailableError } from '@ns/libc';
import type { EgressOptions } from '@ns/netns';
import type { ContainerSpec } from '../types.ts';

/** A network, or the name of one. */
export type NetworkReference = string | { readonly name: string };

/** How a container is on a network. */
export interface NetworkAttachment {
  readonly network: NetworkReference;
  /** Static IPv4 address. Default: a free one. */
  readonly ip?: string;
  /** Static IPv6 address. */
  readonly ip6?: string;
  /** Default: made from the address. */
  readonly mac?: string;
  /** More names others on this network find it by. */
  readonly aliases?: readonly string[];
}

/** Bits per second as a number, or text: `'512kbit'`, `'10Mbit'`, `'1Gbit'`. */
export type BitRate = number | string;

/** How fast a container may receive (`ingress`) and send (`egress`), on each of its networks. */
export interface Bandwidth {
  /** Default: as fast as it goes. */
  readonly ingress?: BitRate;
  /** Holds while the container lacks CAP_NET_ADMIN: the limit is on its own end of the link. */
  readonly egress?: BitRate;
}

/** Fields of a specification that are about the network. */
export interface NetworkSpec {
  /**
   * `'none'`: loopback only. `'host'`: the host's. `'user'`: the host's through pasta or slirp4netns, which needs no
   * privilege. Else a {@link Network}, its name, or several; the first that leads outside is the way out. Default `'none'`;
   * with `ports` or `egress` a network of the container's own, for an ordinary user `'user'`.
   */
  readonly network?:
    | NetworkReference
    | NetworkAttachment
    | readonly (NetworkReference | NetworkAttachment)[]
    | { readonly container: string | { readonly id: string } }
    | { readonly path: string };
  /**
   * Published ports in Docker's notation: `'8080:80/tcp'`, `'127.0.0.1:0:80'`, `'8000-8010:80'`. Port 0 is chosen: read `container.ports`.
   * They come in by the first network that is not internal: `SpecError` where all are. On a bridge, TCP to `::1` of this machine
   * reaches a server in the container that listens on IPv4 alone, too.
   */
  readonly ports?: readonly string[];
  /**
   * Lines for /etc/hosts: name to address, or as Docker's `--add-host`: `['db:10.0.0.5', 'db=fd00::5']`. The address `host-gateway`
   * is that of this machine on the container's first bridge or vxlan (`SpecError` where none has one). With
   * `network: 'host'` or `{ container }` they follow the lines that the host's, or the other container's, file has. Default: none.
   */
  readonly extraHosts?: Readonly<Record<string, string>> | readonly string[];
  /**
   * Name servers instead of the network's, which alone knows the names of other containers. With `network: 'host'` or
   * `{ container }` instead of those that the host's, or the other container's, /etc/resolv.conf names; its other lines stay.
   */
  readonly dns?: readonly string[];
  /**
   * What the container may connect to on all of its networks, enforced by the kernel: neighbours are named by address or
   * by name like anything else, and what a network's own policy refuses stays refused. Where `network` is left out, or
   * names internal ones only, it gets a network of its own besides.
   */
  readonly egress?: EgressOptions;
  /** Default: as fast as it goes. */
  readonly bandwidth?: Bandwidth;
}

/** What a specification asks of the network, with defaults filled in. */
export type NetworkPlan =
  /** A namespace and nothing in it, or somebody else's. */
  | { readonly kind: 'namespace' }
  | { readonly kind: 'user' }
  | {
      readonly kind: 'connected';
      readonly attachments: readonly NetworkAttachment[];
      /** A network of its own besides. */
      readonly own: boolean;
    };

const namespaceWords: ReadonlySet<unknown> = new Set(['none', 'host']);

/** Names no network can have: they mean something else where one is asked for. */
export const reservedNames: readonly string[] = ['none', 'host', 'user'];

/**
 * What a specification asks of the network.
 *
 * @throws SpecError when its fields contradict each other
 */
export function planNetwork(spec: NetworkSpec): NetworkPlan {
  const { network, ports = [], egress } = spec;
  const wantsOwn = network === undefined && (egress !== undefined || ports.length > 0);
  const rootless = process.geteuid!() !== 0;
  if (network === 'user' || (rootless && network === undefined && ports.length > 0 && !egress)) {
    refuseWith('user', spec, ['egress', 'bandwidth']);
    return { kind: 'user' };
  }
  if (network === undefined && !wantsOwn) {
    refuseWith('none', spec, ['bandwidth']);
    return { kind: 'namespace' };
  }
  if (namespaceWords.has(network) || (typeof network === 'object' && ('container' in network || 'path' in network))) {
    refuseWith(typeof network === 'string' ? network : 'another', spec, ['ports', 'egress', 'bandwidth']);
    return { kind: 'namespace' };
  }
  return { kind: 'connected', attachments: attachmentsOf(network), own: wantsOwn };
}

/** Is something to be made before the first process? */
export function wantsNetwork(spec: ContainerSpec): boolean {
  const isConnected = planNetwork(spec).kind === 'connected';
  const { net = 'private' } = spec.namespaces ?? {};
  if (isConnected && net !== 'private') throw new SpecError('namespaces.net', "'private', to be on a network", net);
  return isConnected;
}

export function wantsUserNetwork(spec: ContainerSpec): boolean {
  return planNetwork(spec).kind === 'user';
}

/** @throws UnavailableError when an ordinary user asks for what needs root */
export function requirePrivilege({ egress }: NetworkSpec): void {
  if (process.geteuid!() === 0) return;
  throw new UnavailableError(
    egress ? 'an egress policy' : 'a bridge network',
    'it takes CAP_NET_ADMIN in the namespace of the host',
    "Run as root, or use network: 'user', which has ports and the host's network",
  );
}

export function nameOf(reference: NetworkReference): string {
  return typeof reference === 'string' ? reference : reference.name;
}

function attachmentsOf(network: NetworkSpec['network']): NetworkAttachment[] {
  if (network === undefined) return [];
  const list = (Array.isArray(network) ? network : [network]) as readonly (NetworkReference | NetworkAttachment)[];
  const attachments = list.map((entry) =>
    typeof entry === 'object' && 'network' in entry
      ? { ...entry, network: nameOf(entry.network) }
      : { network: nameOf(entry) },
  );
  const names = attachments.map((attachment) => attachment.network);
  for (const [index, name] of names.entries()) {
    if (reservedNames.includes(name)) throw new SpecError(`network[${index}]`, 'the name of a network', name);
    if (names.indexOf(name) !== index) throw new SpecError(`network[${index}]`, 'each network once', name);
  }
  return attachments;
}

function refuseWith(network: string, spec: NetworkSpec, fields: readonly ('ports' | 'egress' | 'bandwidth')[]): void {
  for (const field of fields) {
    const value = spec[field];
    if (value === undefined || (Array.isArray(value) && value.length === 0)) continue;
    throw new SpecError(field, `nothing with network '${network}'`, value, 'Name a network: Network.create()');
  }
}

const units: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9 };

/** Bits per second. */
export function parseBitRate(rate: BitRate, field: string): number {
  const match = typeof rate === 'string' ? /^(\d+(?:\.\d+)?)\s*([kmg]?)(?:bit|bps)?$/i.exec(rate.trim()) : undefined;
  const bits = match ? Number(match[1]) * units[match[2]!.toLowerCase()]! : rate;
  if (typeof bits === 'number' && bits >= 8_000 && Number.isFinite(bits)) return bits;
  throw new SpecError(field, "a rate of at least 8000 bits per second, such as '10Mbit'", rate);
}
