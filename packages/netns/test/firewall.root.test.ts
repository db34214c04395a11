import { Firewall, type PublishedPorts, parsePortSpec, publishPorts, route } from '@ns/netns';
import { needs, notRoot } from '@ns/testing';
import {
  client,
  inside,
  ResourceStack,
  scene,
  serve,
  TCP_CLIENT,
  TCP_SERVER,
  UDP_CLIENT,
  UDP_SERVER,
} from './scene.ts';

const rootTest = needs(notRoot);

rootTest('out is masqueraded, in is closed, networks are apart', async () => {
  await using scope = new ResourceStack();
  const { outside, a, b, c, host } = await scene(scope);
  await serve(scope, outside, 'outside', TCP_SERVER);
  await serve(scope, b, 'b', TCP_SERVER);
  expect(await client(a, TCP_CLIENT, '198.51.100.2', 80)).toBe('outside saw ::ffff:198.51.100.1 hello');
  expect(await client(a, TCP_CLIENT, '2001:db8:1::2', 80)).toBe('outside saw 2001:db8:1::1 hello');
  expect(await client(a, TCP_CLIENT, '10.88.1.3', 80)).toBe('b saw ::ffff:10.88.1.2 hello');
  await route.add({ to: '10.88.0.0/16', via: '198.51.100.1', netns: outside });
  expect(await client(outside, TCP_CLIENT, '10.88.1.3', 80, 1500)).toBe('TIMEOUT');
  expect(await client(c, TCP_CLIENT, '10.88.1.3', 80, 1500)).toBe('TIMEOUT');
  expect(await client(c, TCP_CLIENT, 'fd00:1::3', 80, 1500)).toBe('TIMEOUT');
  expect(await client(host, TCP_CLIENT, '10.88.1.3', 80)).toBe('b saw ::ffff:10.88.1.1 hello');
});

rootTest(
  'a published port is reached from everywhere, in both versions',
  async () => {
    await using scope = new ResourceStack();
    const { host, outside, a, b, c, firewall } = await scene(scope);
    await serve(scope, b, 'b', TCP_SERVER);
    await serve(scope, b, 'b', UDP_SERVER);
    const published: PublishedPorts = await publishPorts({
      ports: [...parsePortSpec('80'), ...parsePortSpec('5353:5353/udp')],
      address: '10.88.1.3',
      address6: 'fd00:1::3',
      firewall,
    });
    const port = published.ports[0]!.hostPort;
    expect(port).toBeGreaterThan(1023);
    expect(published.ports.map((one) => one.hostPort)).toEqual([port, port, 5353, 5353]);
    // The real client is seen; hairpin and localhost come from the bridge.
    expect(await client(outside, TCP_CLIENT, '198.51.100.1', port)).toBe('b saw ::ffff:198.51.100.2 hello');
    expect(await client(outside, TCP_CLIENT, '2001:db8:1::1', port)).toBe('b saw 2001:db8:1::2 hello');
    expect(await client(a, TCP_CLIENT, '198.51.100.1', port)).toBe('b saw ::ffff:10.88.1.1 hello');
    expect(await client(b, TCP_CLIENT, '198.51.100.1', port)).toBe('b saw ::ffff:10.88.1.1 hello');
    expect(await client(b, TCP_CLIENT, '2001:db8:1::1', port)).toBe('b saw fd00:1::1 hello');
    expect(await client(c, TCP_CLIENT, '198.51.100.1', port)).toMatch(/^b saw/);
    expect(await client(host, TCP_CLIENT, '127.0.0.1', port)).toBe('b saw ::ffff:10.88.1.1 hello');
    expect(await client(host, TCP_CLIENT, '::1', port)).toBe('b saw fd00:1::1 hello');
    expect(await client(host, TCP_CLIENT, '198.51.100.1', port)).toMatch(/^b saw/);
    expect(await client(outside, UDP_CLIENT, '198.51.100.1', 5353)).toBe('b heard hello');
    expect(await client(outside, UDP_CLIENT, '2001:db8:1::1', 5353)).toBe('b heard hello');
    expect(await client(host, UDP_CLIENT, '127.0.0.1', 5353)).toBe('b heard hello');
    expect(await client(host, UDP_CLIENT, '::1', 5353)).toBe('b heard hello');
    expect(await client(b, UDP_CLIENT, '198.51.100.1', 5353)).toBe('b heard hello');
    // Nobody else can have it, in this table or on the host.
    await expect(
      publishPorts({ ports: parsePortSpec(`${port}:80`), address: '10.88.1.2', firewall }),
    ).rejects.toMatchObject({ code: 'ERR_NS_PORT_IN_USE' });
    expect(() => firewall.publish([{ protocol: 'tcp', hostPort: port, address: '10.88.1.2', port: 80 }])).toThrow(
      expect.objectContaining({ code: 'ERR_NS_PORT_IN_USE', message: expect.stringContaining('10.88.1.3') }),
    );
    await published.close();
    await published.close();
    expect(firewall.published()).toEqual([]);
    expect(await client(outside, TCP_CLIENT, '198.51.100.1', port)).toBe('ECONNREFUSED');
    expect(await client(host, TCP_CLIENT, '::1', port)).toBe('ECONNREFUSED');
  },
  60_000,
);

rootTest('host addresses, ranges, and all or nothing', async () => {
  await using scope = new ResourceStack();
  const { host, outside, b, firewall } = await scene(scope);
  await serve(scope, b, 'b', TCP_SERVER);
  const local = await publishPorts({
    ports: parsePortSpec('127.0.0.1:7000-7010:80'),
    address: '10.88.1.3',
    firewall,
  });
  const second = await publishPorts({
    ports: parsePortSpec('127.0.0.1:7000-7010:80'),
    address: '10.88.1.2',
    firewall,
  });
  expect([local.ports[0]!.hostPort, second.ports[0]!.hostPort]).toEqual([7000, 7001]);
  expect(await client(host, TCP_CLIENT, '127.0.0.1', 7000)).toMatch(/^b saw/);
  expect(await client(outside, TCP_CLIENT, '198.51.100.1', 7000)).toBe('ECONNREFUSED');
  // A neighbour of the host may send to whatever address he likes.
  await route.add({ to: '127.0.0.1/32', via: '198.51.100.1', netns: outside, table: 77 });
  inside(outside, 'ip', 'rule', 'add', 'to', '127.0.0.1', 'lookup', '77', 'priority', '0');
  inside(outside, 'ip', 'rule', 'add', 'lookup', 'local', 'priority', '10');
  inside(outside, 'ip', 'rule', 'del', 'priority', '0', 'lookup', 'local');
  inside(outside, 'sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=1');
  expect(await client(outside, TCP_CLIENT, '127.0.0.1', 7000, 1500)).toBe('TIMEOUT');
  const ports = [...parsePortSpec('9000-9005:80-85'), ...parsePortSpec('127.0.0.1:7000:80')];
  await expect(publishPorts({ ports, address: '10.88.1.3', firewall })).rejects.toMatchObject({
    code: 'ERR_NS_PORT_IN_USE',
  });
  expect(firewall.published()).toHaveLength(2);
  await publishPorts({ ports: parsePortSpec('9000-9005:80-85'), address: '10.88.1.3', firewall }).then((range) => {
    expect(range.ports.filter((one) => one.hostAddress === '0.0.0.0').map((one) => [one.hostPort, one.port])).toEqual(
      [9000, 9001, 9002, 9003, 9004, 9005].map((n) => [n, n - 8920]),
    );
    return range.close();
  });
  await local.close();
  await second.close();
});

for (const by of ['nftables', 'the userland proxy'] as const)
  rootTest(
    `every address of one version, by ${by}`,
    async () => {
      await using scope = new ResourceStack();
      const { host, outside, b, firewall } = await scene(scope);
      if (by !== 'nftables') await Firewall.remove({ netns: host });
      await serve(scope, b, 'b', TCP_SERVER);
      await using published = await publishPorts({
        ports: [...parsePortSpec('0.0.0.0:8084:80'), ...parsePortSpec('[::]:8086:80')],
        address: '10.88.1.3',
        address6: 'fd00:1::3',
        ...(by === 'nftables' ? { firewall } : { netns: host }),
      });
      expect(published.ports.map(({ hostAddress }) => hostAddress)).toEqual(['0.0.0.0', '::']);
      const [four, six] = ['198.51.100.1', '2001:db8:1::1'];
      expect(await client(outside, TCP_CLIENT, four, 8084)).toMatch(/^b saw/);
      expect(await client(outside, TCP_CLIENT, six, 8084)).toBe('ECONNREFUSED');
      expect(await client(outside, TCP_CLIENT, six, 8086)).toMatch(/^b saw/);
      expect(await client(outside, TCP_CLIENT, four, 8086)).toBe('ECONNREFUSED');
    },
    30_000,
  );

rootTest(
  'without nftables the userland proxy does it: from outside, neighbours, itself and localhost, in both versions',
  async () => {
    await using scope = new ResourceStack();
    const { host, outside, a, b } = await scene(scope);
    await Firewall.remove({ netns: host });
    await serve(scope, b, 'b', TCP_SERVER);
    await serve(scope, b, 'b', UDP_SERVER);
    await using published = await publishPorts({
      ports: [...parsePortSpec('0:80'), ...parsePortSpec('0:5353/udp')],
      address: '10.88.1.3',
      address6: 'fd00:1::3',
      netns: host,
    });
    expect(published.ports).toHaveLength(4);
    const [tcp, udp] = (['tcp', 'udp'] as const).map((protocol) => {
      const numbers = published.ports.filter((one) => one.protocol === protocol).map((one) => one.hostPort);
      expect(new Set(numbers).size).toBe(1);
      return numbers[0]!;
    });
    // One socket for both versions.
    expect(inside(host, 'ss', '-Hnltu').match(new RegExp(`\\*:(${tcp}|${udp}) `, 'g'))).toHaveLength(2);
    for (const [from, address, seen] of [
      [outside, '198.51.100.1', '::ffff:10.88.1.1'],
      [outside, '2001:db8:1::1', 'fd00:1::1'],
      [a, '198.51.100.1', '::ffff:10.88.1.1'],
      [b, '198.51.100.1', '::ffff:10.88.1.1'],
      [b, '2001:db8:1::1', 'fd00:1::1'],
      [host, '127.0.0.1', '::ffff:10.88.1.1'],
      [host, '::1', 'fd00:1::1'],
      [host, '198.51.100.1', '::ffff:10.88.1.1'],
    ] as const) {
      const got = [await client(from, TCP_CLIENT, address, tcp!), await client(from, UDP_CLIENT, address, udp!)];
      expect({ address, got }).toEqual({ address, got: [`b saw ${seen} hello`, 'b heard hello'] });
    }
    await published.close();
    expect(await client(host, TCP_CLIENT, '127.0.0.1', tcp!)).toBe('ECONNREFUSED');
    expect(inside(host, 'ss', '-Hnltu')).not.toMatch(new RegExp(`:(${tcp}|${udp}) `));
  },
  60_000,
);

rootTest(
  'the userland proxy: one version for the other, host addresses, ranges, all or nothing',
  async () => {
    await using scope = new ResourceStack();
    const { host, outside, b } = await scene(scope);
    await Firewall.remove({ netns: host });
    await serve(scope, b, 'b', TCP_SERVER);
    const publish = (spec: string, at: { address?: string; address6?: string } = { address: '10.88.1.3' }) =>
      publishPorts({ ports: parsePortSpec(spec), netns: host, ...at });
    await using _four = await publish('8080:80');
    await using _six = await publish('8081:80', { address6: 'fd00:1::3' });
    expect(await client(outside, TCP_CLIENT, '2001:db8:1::1', 8080)).toBe('b saw ::ffff:10.88.1.1 hello');
    expect(await client(outside, TCP_CLIENT, '198.51.100.1', 8081)).toBe('b saw fd00:1::1 hello');
    await using local = await publish('127.0.0.1:7000-7010:80');
    await using next = await publish('127.0.0.1:7000-7010:80');
    expect([local, next].map(({ ports }) => ports.map(({ hostPort }) => hostPort))).toEqual([[7000], [7001]]);
    expect(await client(host, TCP_CLIENT, '127.0.0.1', 7001)).toMatch(/^b saw/);
    expect(await client(outside, TCP_CLIENT, '198.51.100.1', 7001)).toBe('ECONNREFUSED');
    await using local6 = await publish('[::1]:7002:80', { address6: 'fd00:1::3' });
    expect(local6.ports).toMatchObject([{ hostAddress: '::1', hostPort: 7002 }]);
    expect(await client(host, TCP_CLIENT, '::1', 7002)).toBe('b saw fd00:1::1 hello');
    expect(await client(host, TCP_CLIENT, '127.0.0.1', 7002)).toBe('ECONNREFUSED');
    await using range = await publish('9000-9002:80-82');
    expect(range.ports.filter(({ hostAddress }) => hostAddress === '0.0.0.0').map((one) => one.port)).toEqual([
      80, 81, 82,
    ]);
    const bound = inside(host, 'ss', '-Hnlt');
    await expect(
      publish('9005:80').then((held) => scope.use(held) && publish('9003-9005:80-82')),
    ).rejects.toMatchObject({
      code: 'ERR_NS_PORT_IN_USE',
    });
    const after = inside(host, 'ss', '-Hnlt');
    expect(after).not.toMatch(/:900[34] /);
    expect(bound).not.toMatch(/:9005 /);
  },
  60_000,
);

rootTest(
  'the table comes and goes without touching others, and containers cannot reach 127.0.0.1 of the host',
  async () => {
    await using scope = new ResourceStack();
    const { host, a, firewall } = await scene(scope);
    inside(
      host,
      'nft',
      'add table ip other; add chain ip other c { type filter hook forward priority 0; policy accept; }; add rule ip other c counter',
    );
    const before = inside(host, 'nft', 'list', 'table', 'ip', 'other');
    await serve(scope, host, 'host', TCP_SERVER);
    await route.add({ to: '127.0.0.2/32', via: '10.88.1.1', netns: a, table: 77 });
    inside(a, 'ip', 'rule', 'add', 'to', '127.0.0.2', 'lookup', '77', 'priority', '0');
    inside(a, 'ip', 'rule', 'add', 'lookup', 'local', 'priority', '10');
    inside(a, 'ip', 'rule', 'del', 'priority', '0', 'lookup', 'local');
    inside(a, 'sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=1');
    expect(await client(a, TCP_CLIENT, '10.88.1.1', 80)).toMatch(/^host saw/);
    expect(await client(a, TCP_CLIENT, '127.0.0.2', 80, 1500)).toBe('TIMEOUT');
    firewall.removeNetwork({ bridge: 'br0', subnets: ['10.88.1.0/24', 'fd00:1::/64'] });
    firewall.removeNetwork({ bridge: 'br0', subnets: ['10.88.1.0/24', 'fd00:1::/64'] });
    expect(inside(host, 'nft', 'list', 'set', 'inet', 'ns', 'bridges')).not.toContain('br0');
    await Firewall.remove({ netns: host });
    await Firewall.remove({ netns: host });
    expect(inside(host, 'nft', 'list', 'tables')).toBe('table ip other\n');
    expect(inside(host, 'nft', 'list', 'table', 'ip', 'other')).toBe(before);
  },
);

rootTest('an internal network stays inside', async () => {
  await using scope = new ResourceStack();
  const { outside, a, b, firewall } = await scene(scope);
  const network = { bridge: 'br0', subnets: ['10.88.1.0/24', 'fd00:1::/64'] };
  firewall.removeNetwork(network);
  await firewall.addNetwork({ ...network, internal: true });
  await serve(scope, outside, 'outside', TCP_SERVER);
  await serve(scope, b, 'b', TCP_SERVER);
  expect(await client(a, TCP_CLIENT, '198.51.100.2', 80, 1500)).toBe('TIMEOUT');
  expect(await client(a, TCP_CLIENT, '10.88.1.3', 80)).toMatch(/^b saw/);
});
