import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { address, EgressPolicy, type RefusedConnection, Resolver } from '@ns/netns';
import { eventually, needs, notRoot } from '@ns/testing';
import { client, inside, lookUp, ResourceStack, scene, serve, TCP_CLIENT, TCP_SERVER, UDP_CLIENT } from './scene.ts';

const rootTest = needs(notRoot);
// Starting a client takes seconds on an emulated machine.
const TTL_SEC = process.env.NS_VM === undefined ? 5 : 60;

rootTest(
  'containers find each other by name, and the rest goes upstream',
  async () => {
    await using scope = new ResourceStack();
    const { host, outside, a, b } = await scene(scope);
    const upstream = scope.use(
      await Resolver.start({ netns: outside, listen: ['198.51.100.2', '2001:db8:1::2'], upstreams: [] }),
    );
    upstream.names.add('x', 'www.example.com', '203.0.113.7');
    for (let n = 0; n < 60; n++) upstream.names.add('x', 'many.example.com', `203.0.113.${n}`);
    const resolver = scope.use(
      await Resolver.start({
        netns: host,
        listen: ['10.88.1.1', 'fd00:1::1'],
        upstreams: ['198.51.100.99', '198.51.100.2'],
      }),
    );
    resolver.names.add('a', 'a', '10.88.1.2');
    resolver.names.add('b', 'B', '10.88.1.3');
    resolver.names.add('b', 'b', 'fd00:1::3');
    resolver.names.add('a', 'both', '10.88.1.2');
    resolver.names.add('b', 'both', '10.88.1.3');
    expect(await lookUp(a, 'b')).toBe('10.88.1.3');
    expect(await lookUp(a, 'B.')).toBe('10.88.1.3');
    expect(await lookUp(a, 'b', 'AAAA')).toBe('fd00:1::3');
    expect(await lookUp(a, 'a', 'AAAA')).toBe('ENODATA');
    expect(await lookUp(b, 'both', 'A', '[fd00:1::1]')).toBe('10.88.1.2 10.88.1.3');
    expect(await lookUp(a, '10.88.1.3', 'PTR')).toBe('b both');
    expect(await lookUp(a, 'fd00:1::3', 'PTR')).toBe('b');
    expect(await lookUp(a, 'unknown')).toBe('ENOTFOUND');
    // The first upstream does not answer at all.
    expect(await lookUp(a, 'many.example.com').then((text) => text.split(' '))).toHaveLength(60);
    resolver.names.remove('b');
    expect(await lookUp(a, 'b')).toBe('ENOTFOUND');
    expect(await lookUp(a, 'both')).toBe('10.88.1.2');
  },
  60_000,
);

rootTest('whatever is sent to it, the resolver goes on', async () => {
  await using scope = new ResourceStack();
  const resolver = scope.use(await Resolver.start({ listen: ['127.0.0.1'], port: 45_353, upstreams: [] }));
  resolver.names.add('a', 'a', '10.0.0.1');
  const socket = createSocket('udp4');
  const query = Buffer.from('123401000001000000000000016100000100 01'.replaceAll(' ', ''), 'hex');
  // Again and again: what comes while the queue is full of noise is lost.
  const ask = async (): Promise<Buffer> => {
    const asking = setInterval(() => socket.send(query, 45_353, '127.0.0.1'), 100);
    const [answer] = (await once(socket, 'message')) as [Buffer];
    clearInterval(asking);
    return answer;
  };
  expect((await ask()).subarray(-4)).toEqual(Buffer.from([10, 0, 0, 1]));
  for (let length = 0; length < 200; length++) {
    const noise = Buffer.from(Array.from({ length }, (_, index) => (index * 37 + length * 11) & 0xff));
    // Answers and malformed packets get no answer; a compression loop ends.
    noise.copy(query.subarray(0, 0));
    socket.send(Buffer.concat([query.subarray(0, 12), Buffer.from([0xc0, 0x0c]), noise]), 45_353, '127.0.0.1');
    socket.send(Buffer.concat([Buffer.from([0, 1, 0x80]), noise]), 45_353, '127.0.0.1');
  }
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect((await ask()).subarray(-4)).toEqual(Buffer.from([10, 0, 0, 1]));
  socket.close();
});

rootTest(
  'an egress policy holds against direct addresses, other resolvers, IPv6 and rebinding',
  async () => {
    const beginMs = Date.now();
    await using scope = new ResourceStack();
    const { host, outside, a, b, firewall } = await scene(scope);
    for (const extra of ['198.51.100.3/24', '203.0.113.5/32', '169.254.169.254/32', '10.200.0.1/32'])
      await address.add('eth0', extra, { netns: outside });
    inside(host, 'ip', 'route', 'add', 'default', 'via', '198.51.100.2');
    await serve(scope, outside, 'outside', TCP_SERVER);
    await serve(scope, b, 'b', TCP_SERVER);
    const upstream = scope.use(
      await Resolver.start({ netns: outside, listen: ['198.51.100.2'], upstreams: [], ttlSec: TTL_SEC }),
    );
    upstream.names.add('x', 'good.test', '198.51.100.2');
    upstream.names.add('x', 'good.test', '2001:db8:1::2');
    upstream.names.add('x', 'evil.test', '198.51.100.3');
    upstream.names.add('x', 'rebind.good.test', '169.254.169.254');
    upstream.names.add('x', 'rebind.good.test', '10.200.0.1');
    upstream.names.add('x', 'rebind.good.test', '198.51.100.3');

    const policy = await EgressPolicy.apply({
      firewall,
      bridge: 'br0',
      logGroup: 77,
      policy: { allow: ['good.test:80', '*.good.test', '203.0.113.0/24:80/tcp'] },
    });
    const refusedNames: string[] = [];
    const options = {
      netns: host,
      listen: ['10.88.1.1'],
      upstreams: ['198.51.100.2'],
      policyFor: () => policy,
      onRefused: ({ name }: { name: string }) => void refusedNames.push(name),
    };
    scope.use(await Resolver.start(options));
    const refused: RefusedConnection[] = [];
    const stop = new AbortController();
    const listening = (async () => {
      for await (const connection of policy.refused({ signal: stop.signal })) refused.push(connection);
    })();
    const connect = (where: string, port = 80, from = a) => client(from, TCP_CLIENT, where, port);
    /** What a name has opened is closed again when its answer's time is over: whoever comes too late asks again. */
    const reaches = (type: 'A' | 'AAAA', where: string) =>
      eventually(async () => {
        expect(await lookUp(a, 'good.test', type)).toBe(where);
        return (await connect(where)).startsWith('outside saw');
      });

    // By address, before the name was asked.
    expect(await connect('198.51.100.2')).toBe('ECONNREFUSED');
    expect(await connect('2001:db8:1::2')).toBe('ECONNREFUSED');
    expect(await connect('203.0.113.5')).toMatch(/^outside saw/);
    expect(await connect('203.0.113.5', 81)).toBe('ECONNREFUSED');
    expect(await connect('169.254.169.254')).toBe('ECONNREFUSED');
    // The host itself, and another network's resolver.
    expect(await connect('10.88.1.1')).toBe('ECONNREFUSED');
    expect(await lookUp(a, 'good.test', 'A', '198.51.100.2')).toMatch(/ECONNREFUSED|ETIMEOUT/);
    expect(await client(a, UDP_CLIENT, '10.88.2.1', 53, 1500)).toBe('TIMEOUT');
    // The neighbour on the bridge is not outside.
    expect(await connect('10.88.1.3')).toMatch(/^b saw/);

    expect(await reaches('A', '198.51.100.2')).toBe(true);
    expect(await connect('198.51.100.2', 81)).toBe('ECONNREFUSED');
    expect(await connect('2001:db8:1::2')).toBe('ECONNREFUSED');
    expect(await reaches('AAAA', '2001:db8:1::2')).toBe(true);
    expect(await lookUp(a, 'evil.test')).toBe('ENOTFOUND');
    expect(refusedNames).toEqual(['evil.test']);
    // Only what is no insider of ours comes through.
    expect(await lookUp(a, 'rebind.good.test')).toBe('198.51.100.3');
    expect(await connect('10.200.0.1')).toBe('ECONNREFUSED');

    // The answer's time is over.
    await new Promise((resolve) => setTimeout(resolve, TTL_SEC * 1000 + 500));
    expect(await connect('198.51.100.2')).toBe('ECONNREFUSED');

    await policy.change({ allow: ['198.51.100.2'] });
    expect(await connect('198.51.100.2')).toMatch(/^outside saw/);
    expect(await connect('203.0.113.5')).toBe('ECONNREFUSED');
    await policy.change({ default: 'allow' });
    expect(await connect('203.0.113.5')).toMatch(/^outside saw/);
    expect(await connect('169.254.169.254')).toBe('ECONNREFUSED');
    await policy.remove();
    await policy.remove();
    expect(await connect('10.200.0.1')).toMatch(/^outside saw/);
    expect(inside(host, 'nft', 'list', 'table', 'inet', 'ns')).not.toMatch(/egress_|refuse_|guard_/);

    stop.abort();
    await listening;
    expect(refused.length).toBeGreaterThan(8);
    expect(refused).toContainEqual(
      expect.objectContaining({
        bridge: 'br0',
        source: '10.88.1.2',
        destination: '203.0.113.5',
        protocol: 'tcp',
        port: 81,
      }),
    );
    expect(refused).toContainEqual(expect.objectContaining({ destination: '2001:db8:1::2', port: 80 }));
    expect(refused).toContainEqual(expect.objectContaining({ destination: '198.51.100.2', protocol: 'udp', port: 53 }));
    expect(refused).toContainEqual(expect.objectContaining({ destination: '10.88.1.1', protocol: 'tcp', port: 80 }));
    const timeMs = refused[0]!.time.getTime();
    expect(timeMs).toBeGreaterThanOrEqual(beginMs - 1);
    expect(timeMs).toBeLessThanOrEqual(Date.now() + 1);
  },
  90_000,
);
