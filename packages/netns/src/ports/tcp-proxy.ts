import { createServer, type Server, Socket } from 'node:net';
import type { InNetns } from '../namespace-reference.ts';
import { type BoundSocket, openSocketIn } from './bound-socket.ts';

/** Where a proxy's connections go. */
export interface ProxyTarget extends InNetns {
  readonly address: string;
  readonly port: number;
}

/** Where a client may be led to, by the address it comes from: one at least, the preferred one first. */
export type TargetsOf = (client: string) => readonly ProxyTarget[];

/** Something that listens until it is closed. */
export interface PortProxy {
  close(): Promise<void>;
}

/**
 * A container of this host answers at once. Who has not by now drops what comes, and the next target is tried: of half a second
 * a person notices little.
 */
const ANSWER_MS = 500;

/**
 * Passes TCP connections on, in this process: what publishes a port where nftables cannot (::1, no nft, no privilege). A
 * client is led to the first of its targets that takes it. Takes the socket over. Does not keep the event loop alive by
 * listening, but each connection does.
 */
export async function proxyTcp(listener: BoundSocket, targetsOf: TargetsOf): Promise<PortProxy> {
  const connections = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    const { remoteAddress } = client;
    // It has gone already.
    if (remoteAddress === undefined) return client.destroy();
    keep(client);
    lead(client, targetsOf(remoteAddress));
  });
  const keep = (socket: Socket): void => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
  };
  const lead = (client: Socket, [target, ...others]: readonly ProxyTarget[]): void => {
    const upstream = connectTo(target!);
    keep(upstream);
    const taken = () => join(client, upstream);
    // What comes of the last one is the client's to know.
    if (others.length === 0) taken();
    else whenAnswered(upstream, { taken, refused: () => client.destroyed || lead(client, others) });
  };
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

/** Calls one of two: by then the socket is connected, or destroyed. None when somebody destroys it meanwhile. */
function whenAnswered(socket: Socket, { taken, refused }: { taken: () => void; refused: () => void }): void {
  const giveUp = (): void => {
    socket.destroy();
    refused();
  };
  // A process that was busy all the while must hear first what has come meanwhile.
  const timer = setTimeout(() => setImmediate(() => socket.connecting && giveUp()), ANSWER_MS);
  socket.once('close', () => clearTimeout(timer));
  socket.once('error', giveUp);
  socket.once('connect', () => {
    clearTimeout(timer);
    socket.off('error', giveUp);
    taken();
  });
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
