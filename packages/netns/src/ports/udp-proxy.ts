import { createSocket, type Socket } from 'node:dgram';
import { type BoundSocket, bindSocket } from './bound-socket.ts';
import type { PortProxy, ProxyTarget } from './tcp-proxy.ts';

const IDLE_MS = 90_000;
// A flood of forged senders must not use up our descriptors; the one that was silent longest makes room.
const MAX_SESSIONS = 1024;

interface Session {
  readonly upstream: Socket;
  timer: NodeJS.Timeout;
}

/** Passes UDP datagrams on and answers back to their senders. Takes the socket over. Does not keep the event loop alive. */
export async function proxyUdp(
  listener: BoundSocket,
  target: ProxyTarget,
  family: 'inet' | 'inet6',
): Promise<PortProxy> {
  const front = await openDatagram(family, listener);
  const sessions = new Map<string, Session>();

  const end = (key: string): void => {
    const session = sessions.get(key);
    if (!session) return;
    sessions.delete(key);
    clearTimeout(session.timer);
    session.upstream.close();
  };
  const expire = (key: string): NodeJS.Timeout => setTimeout(end, IDLE_MS, key).unref();

  const begin = async (key: string, sender: { address: string; port: number }): Promise<Session> => {
    const targetFamily = target.address.includes(':') ? 'inet6' : 'inet';
    const own = bindSocket({
      netns: target.netns,
      protocol: 'udp',
      address: targetFamily === 'inet' ? '0.0.0.0' : '::',
      port: 0,
    });
    const upstream = await openDatagram(targetFamily, own);
    upstream.on('message', (answer, { address }) => {
      if (address === target.address) front.send(answer, sender.port, sender.address, ignore);
    });
    const oldest = sessions.size >= MAX_SESSIONS ? sessions.keys().next().value : undefined;
    if (oldest !== undefined) end(oldest);
    const session = { upstream, timer: expire(key) };
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
    session.upstream.send(datagram, target.port, target.address, ignore);
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

async function openDatagram(family: 'inet' | 'inet6', { fd }: BoundSocket): Promise<Socket> {
  const socket = createSocket(family === 'inet' ? 'udp4' : 'udp6');
  socket.on('error', ignore);
  await new Promise<void>((resolve) => socket.bind({ fd: fd.release() }, resolve));
  return socket.unref();
}
