import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '@ns/testing';
import { bindSocket } from '../src/ports/bound-socket.ts';
import { proxyUdp, type UdpProxyLimits } from '../src/ports/udp-proxy.ts';

const { jest } = import.meta;
afterEach(() => jest.useRealTimers());

const HOST = '127.0.0.1';

/** A server that answers with what it heard and keeps in mind who asked, behind a proxy; and clients of it. */
async function scene(limits: UdpProxyLimits) {
  const sockets: Socket[] = [];
  const bound = async () => {
    const socket = createSocket('udp4');
    sockets.push(socket);
    socket.bind(0, HOST);
    await once(socket, 'listening');
    return socket;
  };
  const server = await bound();
  // By what was said first: the proxy's end that the server sees.
  const seen = new Map<string, RemoteInfo[]>();
  server.on('message', (text, sender) => {
    seen.set(String(text), [...(seen.get(String(text)) ?? []), sender]);
    server.send(`re: ${text}`, sender.port, sender.address);
  });
  const listener = bindSocket({ protocol: 'udp', address: HOST, port: 0 });
  const { port } = listener;
  const proxy = await proxyUdp(listener, () => ({ address: HOST, port: server.address().port }), limits);
  return {
    seen,
    async client(name: string) {
      const socket = await bound();
      const heard: string[] = [];
      socket.on('message', (text) => heard.push(String(text)));
      return {
        heard,
        send: () => socket.send(name, port, HOST),
        async ask() {
          const before = heard.length;
          this.send();
          expect(await eventually(() => heard.length > before)).toBe(true);
        },
      };
    },
    /** The server speaks again, to each end it has ever seen. */
    async sayLate() {
      for (const senders of seen.values())
        for (const { port: to, address } of senders) server.send('late', to, address);
      await delay(100);
    },
    async [Symbol.asyncDispose]() {
      await proxy.close();
      for (const socket of sockets) socket.close();
    },
  };
}

/** Sockets this process has open, as the kernel has them. */
function openSockets(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:');
    } catch {
      // The descriptor of the listing itself.
      return false;
    }
  }).length;
}

test('of more senders than may be remembered, those that were silent longest make room', async () => {
  await using world = await scene({ idleMs: 60_000, maxSessions: 3 });
  const [a, b, c] = [await world.client('a'), await world.client('b'), await world.client('c')];
  const [d, e] = [await world.client('d'), await world.client('e')];
  const before = openSockets();
  for (const one of [a, b, c]) await one.ask();
  expect(openSockets()).toBe(before + 3);
  // It spoke last, so b and c go.
  await a.ask();
  for (const one of [d, e]) await one.ask();
  expect(openSockets()).toBe(before + 3);
  await world.sayLate();
  const heardLate = () => [a, b, c, d, e].map(({ heard }) => heard.includes('late'));
  expect(await eventually(() => heardLate().filter(Boolean).length === 3)).toBe(true);
  expect(heardLate()).toEqual([true, false, false, true, true]);
  // Nobody is shut out: it gets another end.
  await b.ask();
  expect(new Set(world.seen.get('b')!.map(({ port }) => port)).size).toBe(2);
  expect(new Set(world.seen.get('a')!.map(({ port }) => port)).size).toBe(1);
  expect(openSockets()).toBe(before + 3);
});

test('a flood of senders opens no more sockets than it may', async () => {
  await using world = await scene({ idleMs: 60_000, maxSessions: 16 });
  const clients = await Promise.all(Array.from({ length: 80 }, (_, number) => world.client(`flood-${number}`)));
  const before = openSockets();
  for (const one of clients) one.send();
  expect(await eventually(() => world.seen.size === 80)).toBe(true);
  expect(openSockets()).toBe(before + 16);
  await clients[0]!.ask();
});

test('a sender that is silent is forgotten, one that speaks is not, whatever the server says', async () => {
  // The time that passes is ours: on the machine's any pause would be one of the sender.
  jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] });
  await using world = await scene({ idleMs: 400, maxSessions: 100 });
  const [silent, talking] = [await world.client('silent'), await world.client('talking')];
  const before = openSockets();
  for (const one of [silent, talking]) await one.ask();
  expect(openSockets()).toBe(before + 2);
  for (let time = 0; time < 8; time++) {
    jest.advanceTimersByTime(100);
    await talking.ask();
    if (time < 2) await world.sayLate();
  }
  expect(openSockets()).toBe(before + 1);
  expect(new Set(world.seen.get('talking')!.map(({ port }) => port)).size).toBe(1);
  jest.advanceTimersByTime(400);
  expect(await eventually(() => openSockets() === before)).toBe(true);
  const heard = silent.heard.length;
  await world.sayLate();
  expect(silent.heard).toHaveLength(heard);
  expect(heard).toBeGreaterThan(1);
});
