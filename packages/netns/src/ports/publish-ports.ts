import { rollBack, SpecError, SyscallError } from '@ns/libc';
import { PortInUseError } from '../errors.ts';
import { describePort, type Firewall, type PublishedPort } from '../firewall/firewall.ts';
import type { InNetns } from '../namespace-reference.ts';
import { type BoundSocket, bindSocket } from './bound-socket.ts';
import type { PortSpec } from './port-spec.ts';
import { type PortProxy, type ProxyTarget, proxyTcp } from './tcp-proxy.ts';
import { proxyUdp } from './udp-proxy.ts';

/** What to publish, and how. */
export interface PublishOptions extends InNetns {
  readonly ports: readonly PortSpec[];
  /** IPv4 address of the container. */
  readonly address?: string | undefined;
  /** IPv6 address of the container. */
  readonly address6?: string | undefined;
  /** Where it goes through the kernel. Without it, everything goes through the userland proxy, and `netns` is the host's. */
  readonly firewall?: Firewall;
  /** Knows whose a port of the host is that turns out to be taken. */
  readonly holderOf?: (port: HostPort) => PortHolder | undefined;
}

/** A port of the host, on one address or on all. */
export type HostPort = Pick<PublishedPort, 'protocol' | 'hostAddress' | 'hostPort'>;

/** A container that has a port of the host. */
export interface PortHolder {
  readonly owner: string;
  readonly names: readonly string[];
}

/** Ports that are published, until it is closed. */
export interface PublishedPorts extends AsyncDisposable {
  /** The ports, with the numbers that were chosen. One entry for each address of the host, `0.0.0.0` and `::` where any will do. */
  readonly ports: readonly PublishedPort[];
  /** Takes them back. Idempotent. */
  close(): Promise<void>;
}

/** Ports that are ours and lead nowhere yet but through the proxy. */
export interface ReservedPorts extends PublishedPorts {
  /**
   * Leads them into the container, all or none.
   *
   * @throws PortInUseError when another container has one
   */
  lead(): void;
}

const ANY: readonly string[] = ['0.0.0.0', '::'];

/**
 * Publishes ports of a container: nftables leads what comes from outside, from other containers and from 127.0.0.1 into
 * it; a proxy in this process listens on the same ports, so that nobody else can have them, and serves what the kernel
 * does not lead: `::1`, and the version of IP that the container has no address of. Where the container does not take a TCP
 * connection by the version that was asked, the proxy tries the other. All ports are published, or none.
 *
 * @throws PortInUseError when a port of the host is taken
 */
export async function publishPorts(options: PublishOptions): Promise<PublishedPorts> {
  const reserved = await reservePorts(options);
  try {
    reserved.lead();
  } catch (error) {
    throw await rollBack(error, () => reserved.close());
  }
  return reserved;
}

/**
 * The first half of {@link publishPorts}: whoever keeps a record writes the numbers into it before anything leads to the
 * container, and can undo what a crash leaves.
 */
export async function reservePorts(options: PublishOptions): Promise<ReservedPorts> {
  const { firewall, address } = options;
  const netns = firewall?.netns ?? options.netns;
  if (addressesFor('::', options).length === 0) throw new SpecError('address', 'an address of the container', address);
  const proxies: PortProxy[] = [];
  const ports: PublishedPort[] = [];
  let inKernel: readonly PublishedPort[] = [];
  let closed = false;
  const close = async (): Promise<void> => {
    if (closed) return;
    closed = true;
    firewall?.unpublish(inKernel);
    await Promise.all(proxies.map((proxy) => proxy.close()));
  };
  try {
    for (const spec of options.ports) {
      const { socket, hostAddresses } = reserve(spec, netns, options.holderOf);
      const { protocol, port } = spec;
      const targetsOf = (client: string): ProxyTarget[] =>
        addressesFor(client, options).map((address) => ({ address, port, netns }));
      const proxy =
        protocol === 'tcp' ? proxyTcp(socket, targetsOf) : proxyUdp(socket, (client) => targetsOf(client)[0]!);
      proxies.push(await proxy);
      for (const hostAddress of hostAddresses) {
        const [address] = addressesFor(hostAddress, options);
        ports.push({ protocol, hostAddress, hostPort: socket.port, address: address!, port });
      }
    }
  } catch (error) {
    throw await rollBack(error, close);
  }
  const lead = (): void => {
    const wanted = ports.flatMap(kernelPort);
    firewall?.publish(wanted);
    inKernel = wanted;
  };
  return { ports, lead, close, [Symbol.asyncDispose]: close };
}

/**
 * The container's addresses, that of the version that is asked first. The other one's will do, too: many a server listens on
 * `0.0.0.0` alone, and `localhost` is `::1` to many a client.
 */
function addressesFor(host: string, { address, address6 }: PublishOptions): string[] {
  const inOrder = isIpv4(host) ? [address, address6] : [address6, address];
  return inOrder.filter((one) => one !== undefined);
}

/** A socket for both versions shows those of version 4 as `::ffff:192.0.2.1`. */
function isIpv4(address: string): boolean {
  return address.startsWith('::ffff:') || !address.includes(':');
}

/** What nftables can lead: both ends of one version. */
function kernelPort(port: PublishedPort): PublishedPort[] {
  const { hostAddress, ...rest } = port;
  if (hostAddress!.includes(':') !== port.address.includes(':')) return [];
  return [ANY.includes(hostAddress!) ? rest : port];
}

/** A port of the host that is ours, and the addresses it is on. */
interface Reservation {
  readonly socket: BoundSocket;
  readonly hostAddresses: readonly string[];
}

/** Binds the first of the ports that will do. */
function reserve(spec: PortSpec, netns: InNetns['netns'], holderOf: PublishOptions['holderOf']): Reservation {
  const { from, to } = spec.hostPorts;
  const { protocol, hostAddress } = spec;
  let refused: unknown;
  for (let port = from; port <= to; port++) {
    try {
      return bind(spec, port, netns);
    } catch (error) {
      if (!(error instanceof SyscallError) || error.code !== 'EADDRINUSE') throw error;
      refused = error;
    }
  }
  const holders = new Map<string, string>();
  let stranger: string | undefined;
  // Of a long range the beginning will do: each look reads all that there is.
  for (let port = from; port <= Math.min(to, from + MOST_LOOKS); port++) {
    const holder = holderOf?.({ protocol, hostAddress, hostPort: port });
    if (holder) holders.set(holder.owner, describeHolder(holder));
    else stranger = `another program (${(refused as Error).message})`;
  }
  throw new PortInUseError(
    describeWanted(spec),
    [...holders.values(), ...(stranger === undefined ? [] : [stranger])].join(' and '),
    [...holders.keys()],
  );
}

const MOST_LOOKS = 8;

/** The port that was wanted, or all that would have done. */
export function describeWanted({
  protocol,
  hostAddress: address = '0.0.0.0',
  hostPorts: { from, to },
  port,
}: PortSpec): string {
  return from === to
    ? describePort({ protocol, hostAddress: address, hostPort: from, address, port })
    : `every one of ports ${from} to ${to}/${protocol} of the host`;
}

function describeHolder({ owner, names }: PortHolder): string {
  const id = owner.slice(0, 12);
  const others = names.filter((name) => name !== id);
  return `container ${id}${others.length > 0 ? ` (${others.join(', ')})` : ''}`;
}

/** One socket, for every address of both versions where none is named. */
function bind({ protocol, hostAddress }: PortSpec, port: number, netns: InNetns['netns']): Reservation {
  const options = { netns, protocol, port };
  if (hostAddress !== undefined)
    return { socket: bindSocket({ ...options, address: hostAddress }), hostAddresses: [hostAddress] };
  try {
    return { socket: bindSocket({ ...options, address: '::', dualStack: true }), hostAddresses: ANY };
  } catch (error) {
    // A host without IPv6: nobody asked for it by name.
    const noSuchVersion = error instanceof SyscallError && ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(error.code);
    if (!noSuchVersion) throw error;
    return { socket: bindSocket({ ...options, address: '0.0.0.0' }), hostAddresses: ['0.0.0.0'] };
  }
}
