import { createServer, type Server, Socket } from 'node:net';
import type { InNetns } from '../namespace-reference.ts';
import { type BoundSocket, openSocketIn } from './bound-socket.ts';

/** Where a proxy's connections go. */
export interface ProxyTarget extends InNetns {
  readonly address: string;
  readonly port: number;
}

/** Where a client is led to, by the address it comes from. */
export type TargetOf = (client: string) => ProxyTarget;

/** Something that listens until it is closed. */
export interface PortProxy {
  close(): Promise<void>;
}

/**
 * Passes TCP connections on, in this process: what publishes a port where nftables cannot (::1, no nft, no privilege).
 * Takes the socket over. Does not keep the event loop alive by listening, but each connection does.
 */
export async function proxyTcp(listener: BoundSocket, targetOf: TargetOf): Promise<PortProxy> {
  const connections = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    const { remoteAddress } = client;
    // It has gone already.
    if (remoteAddress === undefined) return client.destroy();
    const upstream = connectTo(targetOf(remoteAddress));
    for (const socket of [client, upstream]) {
      connections.add(socket);
      socket.once('close', () => connections.delete(socket));
    }
    join(client, upstream);
  });
  await listen(server, listener);
  server.unref();
  return {
    close() {
      for (const socket of connections) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

function listen(server: Server, { fd }: BoundSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ fd: fd.release() }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function connectTo({ netns, address, port }: ProxyTarget): Socket {
  const family = address.includes(':') ? 'inet6' : 'inet';
  const options =
    netns === undefined
      ? {}
      : { fd: openSocketIn({ netns, protocol: 'tcp', family }).release(), readable: true, writable: true };
  return new Socket({ ...options, allowHalfOpen: true }).connect({ host: address, port });
}

/** Ends travel separately in each direction, as they do without a proxy; an error or reset ends both at once. */
function join(client: Socket, upstream: Socket): void {
  const breakOff = (): void => {
    if (!client.destroyed) client.resetAndDestroy();
    upstream.destroy();
  };
  client.on('error', breakOff);
  upstream.on('error', breakOff);
  client.setNoDelay(true);
  upstream.setNoDelay(true);
  client.pipe(upstream);
  upstream.pipe(client);
}
