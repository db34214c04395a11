import { createSocket, type Socket } from 'node:dgram';
import { type BoundSocket, bindSocket } from './bound-socket.ts';
import type { PortProxy, ProxyTarget } from './tcp-proxy.ts';

/** How long senders are remembered, and how many. */
export interface UdpProxyLimits {
  /** Milliseconds without a datagram of the sender after which its answers are no longer waited for. */
  readonly idleMs: number;
  /** A flood of forged senders must not use up our descriptors; the one that was silent longest makes room. */
  readonly maxSessions: number;
}

const defaultLimits: UdpProxyLimits = { idleMs: 90_000, maxSessions: 1024 };

interface Session {
  readonly upstream: Socket;
  readonly target: ProxyTarget;
  timer: NodeJS.Timeout;
}

/** Where a sender's datagrams go, by the address it sends from. */
export type TargetOf = (sender: string) => ProxyTarget;

/** Passes UDP datagrams on and answers back to their senders. Takes the socket over. Does not keep the event loop alive. */
export async function proxyUdp(
  listener: BoundSocket,
  targetOf: TargetOf,
  { idleMs, maxSessions }: UdpProxyLimits = defaultLimits,
): Promise<PortProxy> {
  const front = await openDatagram(listener);
  const sessions = new Map<string, Session>();

  const end = (key: string): void => {
    const session = sessions.get(key);
    if (!session) return;
    sessions.delete(key);
    clearTimeout(session.timer);
    session.upstream.close();
  };
  const expire = (key: string): NodeJS.Timeout => setTimeout(end, idleMs, key).unref();

  const begin = async (key: string, sender: { address: string; port: number }): Promise<Session> => {
    const target = targetOf(sender.address);
    const upstream = await openDatagram(
      bindSocket({
        netns: target.netns,
        protocol: 'udp',
        address: target.address.includes(':') ? '::' : '0.0.0.0',
        port: 0,
      }),
    );
    upstream.on('message', (answer, { address }) => {
      if (address === target.address) front.send(answer, sender.port, sender.address, ignore);
    });
    const oldest = sessions.size >= maxSessions ? sessions.keys().next().value : undefined;
    if (oldest !== undefined) end(oldest);
    const session = { upstream, target, timer: expire(key) };
    sessions.set(key, session);
    return session;
  };

  const pass = async (datagram: Buffer, sender: { address: string; port: number }): Promise<void> => {
    const key = `${sender.address} ${sender.port}`;
    const session = sessions.get(key) ?? (await begin(key, sender));
    clearTimeout(session.timer);
    session.timer = expire(key);
    // Last used goes last.
    sessions.delete(key);
    sessions.set(key, session);
    session.upstream.send(datagram, session.target.port, session.target.address, ignore);
  };
  // One after the other: two datagrams of a new sender must not open two sessions.
  let queue: Promise<void> = Promise.resolve();
  front.on('message', (datagram, sender) => {
    queue = queue.then(() => pass(datagram, sender)).catch(ignore);
  });

  return {
    async close() {
      await queue;
      for (const key of [...sessions.keys()]) end(key);
      await new Promise<void>((resolve) => front.close(() => resolve()));
    },
  };
}

/** Datagrams may be lost; a container that does not listen says so with ICMP, and that is no reason to end. */
function ignore(): void {}

async function openDatagram({ fd, family }: BoundSocket): Promise<Socket> {
  const socket = createSocket(family === 'inet' ? 'udp4' : 'udp6');
  socket.on('error', ignore);
  await new Promise<void>((resolve) => socket.bind({ fd: fd.release() }, resolve));
  return socket.unref();
}
