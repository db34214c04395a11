import { createSocket } from 'node:dgram';
import { createServer, type Socket } from 'node:net';
import { Resolver } from '@ns/netns';
import { decode, encode, type Packet, streamDecode, streamEncode } from 'dns-packet';

/* Answers of a hostile resolver outside. What the kernel then lets through is tested with root. */

const NAME = 'good.test';
const CHAIN = [
  { type: 'CNAME', name: NAME, ttl: 60, data: 'cdn.elsewhere.test' },
  { type: 'CNAME', name: 'cdn.elsewhere.test', ttl: 60, data: 'edge.elsewhere.test' },
  { type: 'A', name: 'edge.elsewhere.test', ttl: 30, data: '198.51.100.9' },
  { type: 'A', name: 'edge.elsewhere.test', ttl: 30, data: '10.0.0.9' },
  { type: 'A', name: 'edge.elsewhere.test', ttl: 30, data: '169.254.169.254' },
] as const;

const answer = ({ id, questions }: Packet): Packet => ({
  type: 'response',
  ...(id === undefined ? {} : { id }),
  questions: questions ?? [],
  answers: [...CHAIN],
  additionals: [{ type: 'A', name: 'free.test', ttl: 60, data: '198.51.100.66' }],
});

test.each(['udp', 'tcp'] as const)('an alias that ends in private addresses, over %s', async (transport) => {
  const udp = createSocket('udp4');
  udp.on('message', (query, from) => udp.send(encode(answer(decode(query))), from.port, from.address));
  await new Promise<void>((resolve) => udp.bind(0, '127.0.0.1', resolve));
  const { port } = udp.address();
  const connections = new Set<Socket>();
  const tcp = createServer((socket) => {
    connections.add(socket);
    socket.on('data', (query) => socket.write(streamEncode(answer(streamDecode(query)))));
  });
  await new Promise<void>((resolve) => tcp.listen(port, '127.0.0.1', resolve));

  const opened: [string, readonly { address: string; ttlSec: number }[]][] = [];
  const resolver = await Resolver.start({
    listen: ['127.0.0.1'],
    port: 45_355,
    upstreams: [{ address: '127.0.0.1', port }],
    policyFor: () => ({
      allowsName: (name) => name === NAME,
      allowsNeighbour: () => true,
      openNeighbour() {},
      openResolved(name, addresses) {
        opened.push([name, addresses]);
        return addresses.map(({ address }) => address).filter((address) => address.startsWith('198.'));
      },
    }),
  });
  try {
    const ask = transport === 'udp' ? askUdp : askTcp;
    const found = await ask('GOOD.test');
    const addresses = (found.answers ?? []).flatMap((record) => (record.type === 'A' ? [record.data] : []));
    expect(addresses).toEqual(['198.51.100.9']);
    // Opened for the name that was asked and allowed, with the time of the answer; never what came along unasked.
    expect(opened).toEqual([
      [NAME, ['198.51.100.9', '10.0.0.9', '169.254.169.254'].map((address) => ({ address, ttlSec: 30 }))],
    ]);
    // The end of the alias is a name like any other.
    expect((await ask('edge.elsewhere.test')).answers).toEqual([]);
    expect(opened).toHaveLength(1);
  } finally {
    await resolver.close();
    udp.close();
    for (const connection of connections) connection.destroy();
    await new Promise((resolve) => tcp.close(resolve));
  }
});

const query = (name: string): Packet => ({
  type: 'query',
  id: 7,
  flags: 0x100,
  questions: [{ type: 'A', class: 'IN', name }],
});

function askUdp(name: string): Promise<Packet> {
  const socket = createSocket('udp4');
  return new Promise<Packet>((resolve) => {
    socket.on('message', (bytes) => resolve(decode(bytes)));
    socket.send(encode(query(name)), 45_355, '127.0.0.1');
  }).finally(() => socket.close());
}

async function askTcp(name: string): Promise<Packet> {
  const { connect } = await import('node:net');
  const socket = connect(45_355, '127.0.0.1');
  return new Promise<Packet>((resolve) => {
    socket.on('data', (bytes) => resolve(streamDecode(bytes)));
    socket.write(streamEncode(query(name)));
  }).finally(() => socket.destroy());
}
