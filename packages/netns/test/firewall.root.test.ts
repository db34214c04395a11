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

rootTest(
  'out is masqueraded, in is closed, networks are apart',
  async () => {
    await using scope = new ResourceStack();
    const { outside, a, b, c, host } = await scene(scope);
    await serve(scope, outside, 'outside', TCP_SERVER);
    await serve(scope, b, 'b', TCP_SERVER);
    expect(await client(a, TCP_CLIENT, '198.51.100.2', 80)).toBe('outside saw ::ffff:198.51.100.1 hello');
    expect(await client(a, TCP_CLIENT, '2001:db8:1::2', 80)).toBe('outside saw 2001:db8:1::1 hello');
    expect(await client(a, TCP_CLIENT, '10.88.1.3', 80)).toBe('b saw ::ffff:10.88.1.2 hello');
    await route.add({ to: '10.88.0.0/16', via: '198.51.100.1', netns: outside });
    expect(await client(outside, TCP_CLIENT, '10.88.1.3', 80)).toBe('TIMEOUT');
    expect(await client(c, TCP_CLIENT, '10.88.1.3', 80)).toBe('TIMEOUT');
    expect(await client(c, TCP_CLIENT, 'fd00:1::3', 80)).toBe('TIMEOUT');
    expect(await client(host, TCP_CLIENT, '10.88.1.3', 80)).toBe('b saw ::ffff:10.88.1.1 hello');
  },
  30_000,
);

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

rootTest(
  'host addresses, ranges, and all or nothing',
  async () => {
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
  },
  30_000,
);

rootTest(
  'without nftables the userland proxy does it',
  async () => {
    await using scope = new ResourceStack();
    const { host, outside, b } = await scene(scope);
    await serve(scope, b, 'b', TCP_SERVER);
    await serve(scope, b, 'b', UDP_SERVER);
    await using published = await publishPorts({
      ports: [...parsePortSpec('8080:80'), ...parsePortSpec('5353:5353/udp')],
      address: '10.88.1.3',
      netns: host,
    });
    expect(published.ports).toHaveLength(4);
    expect(await client(outside, TCP_CLIENT, '198.51.100.1', 8080)).toBe('b saw ::ffff:10.88.1.1 hello');
    expect(await client(outside, TCP_CLIENT, '2001:db8:1::1', 8080)).toBe('b saw ::ffff:10.88.1.1 hello');
    expect(await client(outside, UDP_CLIENT, '198.51.100.1', 5353)).toBe('b heard hello');
  },
  30_000,
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
    expect(await client(a, TCP_CLIENT, '127.0.0.2', 80)).toBe('TIMEOUT');
    firewall.removeNetwork({ bridge: 'br0', subnets: ['10.88.1.0/24', 'fd00:1::/64'] });
    firewall.removeNetwork({ bridge: 'br0', subnets: ['10.88.1.0/24', 'fd00:1::/64'] });
    expect(inside(host, 'nft', 'list', 'set', 'inet', 'ns', 'bridges')).not.toContain('br0');
    await Firewall.remove({ netns: host });
    await Firewall.remove({ netns: host });
    expect(inside(host, 'nft', 'list', 'tables')).toBe('table ip other\n');
    expect(inside(host, 'nft', 'list', 'table', 'ip', 'other')).toBe(before);
  },
  30_000,
);

rootTest(
  'an internal network stays inside',
  async () => {
    await using scope = new ResourceStack();
    const { outside, a, b, firewall } = await scene(scope);
    const network = { bridge: 'br0', subnets: ['10.88.1.0/24', 'fd00:1::/64'] };
    firewall.removeNetwork(network);
    firewall.addNetwork({ ...network, internal: true });
    await serve(scope, outside, 'outside', TCP_SERVER);
    await serve(scope, b, 'b', TCP_SERVER);
    expect(await client(a, TCP_CLIENT, '198.51.100.2', 80)).toBe('TIMEOUT');
    expect(await client(a, TCP_CLIENT, '10.88.1.3', 80)).toMatch(/^b saw/);
  },
  30_000,
);
