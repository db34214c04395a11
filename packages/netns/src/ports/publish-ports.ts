import { SyscallError } from '@ns/libc';
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
  readonly address?: string;
  /** IPv6 address of the container. */
  readonly address6?: string;
  /** Where it goes through the kernel. Without it, everything goes through the userland proxy, and `netns` is the host's. */
  readonly firewall?: Firewall;
  /** Called when the numbers are known and before the kernel leads anything: who keeps a record can undo what a crash leaves. */
  readonly onReserved?: (ports: readonly PublishedPort[]) => void;
}

/** Ports that are published, until it is closed. */
export interface PublishedPorts extends AsyncDisposable {
  /** The ports, with the numbers that were chosen. One entry for each address of the host, `0.0.0.0` and `::` where any will do. */
  readonly ports: readonly PublishedPort[];
  /** Takes them back. Idempotent. */
  close(): Promise<void>;
}

const ANY = ['0.0.0.0', '::'] as const;
const FREE_PORT_ATTEMPTS = 50;

/**
 * Publishes ports of a container: nftables leads what comes from outside, from other containers and from 127.0.0.1 into
 * it; a proxy in this process listens on the same ports, so that nobody else can have them, and serves what the kernel
 * does not lead: `::1`, and IPv6 for a container that has only IPv4. All ports are published, or none.
 *
 * @throws PortInUseError when a port of the host is taken
 */
export async function publishPorts(options: PublishOptions): Promise<PublishedPorts> {
  const { firewall } = options;
  const netns = firewall?.netns ?? options.netns;
  const proxies: PortProxy[] = [];
  const ports: PublishedPort[] = [];
  let inKernel: PublishedPort[] = [];
  let closed = false;
  const close = async (): Promise<void> => {
    if (closed) return;
    closed = true;
    firewall?.unpublish(inKernel);
    await Promise.all(proxies.map((proxy) => proxy.close()));
  };
  try {
    for (const spec of options.ports) {
      const { sockets, port: hostPort } = reserve(spec, netns);
      for (const [hostAddress, socket] of sockets) {
        const target = targetFor(hostAddress, spec, options);
        if (!target) {
          socket.fd.close();
          continue;
        }
        const family = hostAddress.includes(':') ? 'inet6' : 'inet';
        proxies.push(
          spec.protocol === 'tcp'
            ? await proxyTcp(socket, { ...target, netns })
            : await proxyUdp(socket, { ...target, netns }, family),
        );
        ports.push({ protocol: spec.protocol, hostAddress, hostPort, address: target.address, port: spec.port });
      }
    }
    options.onReserved?.(ports);
    const wanted = ports.flatMap(kernelPort);
    firewall?.publish(wanted);
    inKernel = firewall ? wanted : [];
  } catch (error) {
    await close();
    throw error;
  }
  return { ports, close, [Symbol.asyncDispose]: close };
}

/** The container's address of the version the host's address has; another version's will do for the proxy. */
function targetFor(
  hostAddress: string,
  spec: PortSpec,
  { address, address6 }: PublishOptions,
): ProxyTarget | undefined {
  const [same, other] = hostAddress.includes(':') ? [address6, address] : [address, address6];
  const chosen = same ?? other;
  return chosen === undefined ? undefined : { address: chosen, port: spec.port };
}

/** What nftables can lead: both ends of one version. */
function kernelPort(port: PublishedPort): PublishedPort[] {
  const { hostAddress, ...rest } = port;
  if (hostAddress!.includes(':') !== port.address.includes(':')) return [];
  return [(ANY as readonly string[]).includes(hostAddress!) ? rest : port];
}

/** Binds a port on each address, the same number on all of them. */
function reserve(spec: PortSpec, netns: InNetns['netns']): { sockets: Map<string, BoundSocket>; port: number } {
  const addresses = spec.hostAddress === undefined ? ANY : [spec.hostAddress];
  const { from, to } = spec.hostPorts;
  const candidates =
    from === 0
      ? Array<number>(FREE_PORT_ATTEMPTS).fill(0)
      : Array.from({ length: to - from + 1 }, (_, index) => from + index);
  let refused: unknown;
  for (const candidate of candidates) {
    const sockets = new Map<string, BoundSocket>();
    try {
      let port = candidate;
      for (const address of addresses) {
        const socket = bindIfPossible(spec, address, port, netns);
        if (!socket) continue;
        sockets.set(address, socket);
        port = socket.port;
      }
      return { sockets, port };
    } catch (error) {
      for (const socket of sockets.values()) socket.fd.close();
      if (!(error instanceof SyscallError) || error.code !== 'EADDRINUSE') throw error;
      refused = error;
    }
  }
  const described = describePort({
    protocol: spec.protocol,
    hostAddress: addresses[0],
    hostPort: from,
    address: addresses[0]!,
    port: spec.port,
  });
  throw new PortInUseError(
    from === to ? described : `every one of ports ${from} to ${to}/${spec.protocol} of the host`,
    `another program (${(refused as Error).message})`,
  );
}

function bindIfPossible(
  spec: PortSpec,
  address: string,
  port: number,
  netns: InNetns['netns'],
): BoundSocket | undefined {
  try {
    return bindSocket({ netns, protocol: spec.protocol, address, port });
  } catch (error) {
    // A host without IPv6: nobody asked for it by name.
    const noSuchVersion = error instanceof SyscallError && ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(error.code);
    if (noSuchVersion && spec.hostAddress === undefined && address === '::') return undefined;
    throw error;
  }
}
