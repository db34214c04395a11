import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Resolver } from '@ns/netns';
import { eventually } from '@ns/testing';
import { decode, encode, type Packet, streamDecode, streamEncode } from 'dns-packet';

/* Answers of a hostile resolver outside, and hostile clients. What the kernel then lets through is tested with root. */

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

test('an answer counts only from who was asked', async () => {
  const [asked, forger] = [createSocket('udp4'), createSocket('udp4')];
  await new Promise<void>((resolve) => asked.bind(0, '127.0.0.9', resolve));
  const { port } = asked.address();
  await new Promise<void>((resolve) => forger.bind(port, '127.0.0.66', resolve));
  const said = (query: Buffer, data: string) =>
    encode({ ...answer(decode(query)), answers: [{ type: 'A', name: NAME, ttl: 60, data }] });
  asked.on('message', (query, { port: to, address }) =>
    forger.send(said(query, '192.0.2.66'), to, address, () => asked.send(said(query, '192.0.2.9'), to, address)),
  );
  const resolver = await Resolver.start({
    listen: ['127.0.0.1'],
    port: 45_355,
    upstreams: [{ address: '127.0.0.9', port }],
  });
  try {
    expect((await askUdp(NAME)).answers).toMatchObject([{ data: '192.0.2.9' }]);
  } finally {
    await resolver.close();
    asked.close();
    forger.close();
  }
});

test('what was allowed when the question came must be allowed when its answer does', async () => {
  const upstream = createSocket('udp4');
  await new Promise<void>((resolve) => upstream.bind(0, '127.0.0.1', resolve));
  let allowed = NAME;
  const opened: string[] = [];
  const resolver = await Resolver.start({
    listen: ['127.0.0.1'],
    port: 45_355,
    upstreams: [{ address: '127.0.0.1', port: upstream.address().port }],
    // A new object for each, as after a change of the policy.
    policyFor: () => {
      const known = allowed;
      return {
        allowsName: (name) => name === known,
        allowsNeighbour: () => false,
        openNeighbour() {},
        openResolved: (_, addresses) => {
          opened.push(known);
          return addresses.map(({ address }) => address);
        },
      };
    },
  });
  try {
    upstream.once('message', (query, { port, address }) => {
      allowed = 'another.test';
      upstream.send(encode(answer(decode(query))), port, address);
    });
    expect(await askUdp(NAME)).toMatchObject({ rcode: 'NXDOMAIN', answers: [] });
    expect(opened).toEqual([]);
  } finally {
    await resolver.close();
    upstream.close();
  }
});

test('a client has its share of connections and questions, and must read its answers', async () => {
  const asked: string[] = [];
  const upstream = createSocket('udp4');
  upstream.on('message', (query) => asked.push(decode(query).questions![0]!.name));
  await new Promise<void>((resolve) => upstream.bind(0, '127.0.0.1', resolve));
  const resolver = await Resolver.start({
    listen: ['127.0.0.1'],
    port: 45_355,
    upstreams: [{ address: '127.0.0.1', port: upstream.address().port }],
  });
  resolver.names.add('x', 'big.test', '10.0.0.1');
  const connections = Array.from({ length: 40 }, () => connect(45_355, '127.0.0.1'));
  const client = createSocket('udp4');
  try {
    for (const connection of connections) connection.on('error', () => {});
    const ended = await Promise.all(
      connections.map(async (connection) => {
        await once(connection, 'connect').catch(() => {});
        connection.write(streamEncode(query('big.test')));
        // One that is one too many is reset, or closed.
        const closed = () => 'closed';
        return Promise.race([
          once(connection, 'data').then(() => 'answered', closed),
          once(connection, 'close').then(closed, closed),
        ]);
      }),
    );
    expect(ended.filter((end) => end === 'answered')).toHaveLength(32);

    // Who only asks is not heard on for ever.
    const [reader] = connections.filter((_, index) => ended[index] === 'answered') as [Socket];
    reader.pause();
    const chunk = Buffer.concat(Array.from({ length: 1000 }, () => streamEncode(query('big.test'))));
    let sent = 0;
    const isTaken = async () =>
      reader.write(chunk) || (await Promise.race([once(reader, 'drain'), delay(1_000, 'never')])) !== 'never';
    while (sent < 2_000 && (await isTaken())) sent++;
    expect(sent).toBeLessThan(2_000);

    for (let i = 0; i < 200; i++) client.send(encode(query(`n${i}.example.test`)), 45_355, '127.0.0.1');
    expect(await eventually(() => asked.length >= 128)).toBe(true);
    await delay(200);
    expect(asked).toHaveLength(128);
  } finally {
    client.close();
    for (const connection of connections) connection.destroy();
    await resolver.close();
    upstream.close();
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
  const socket = connect(45_355, '127.0.0.1');
  return new Promise<Packet>((resolve) => {
    socket.on('data', (bytes) => resolve(streamDecode(bytes)));
    socket.write(streamEncode(query(name)));
  }).finally(() => socket.destroy());
}
