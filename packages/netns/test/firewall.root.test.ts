import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  address,
  Firewall,
  link,
  NetNamespace,
  type PublishedPorts,
  parsePortSpec,
  publishPorts,
  route,
  sysctl,
} from '@ns/netns';
import { needs, notRoot } from '@ns/testing';

const rootTest = needs(notRoot);

const nsenter = (netns: NetNamespace, ...command: string[]): [string, string[]] => [
  'nsenter',
  [`--net=/proc/${process.pid}/fd/${netns.fd}`, ...command],
];
function inside(netns: NetNamespace, ...command: string[]): string {
  return execFileSync(...nsenter(netns, ...command), { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
}
const TCP_SERVER = `require('net').createServer({allowHalfOpen:true},(s)=>{s.on('error',()=>{});s.on('data',(d)=>s.write(process.argv[1]+' saw '+s.remoteAddress+' '+d));s.on('end',()=>s.end())}).listen(80,'::',()=>console.log('up'))`;
const UDP_SERVER = `for(const t of ['udp4','udp6']){const s=require('dgram').createSocket({type:t,ipv6Only:t==='udp6'});s.on('message',(d,r)=>s.send(process.argv[1]+' heard '+d,r.port,r.address));s.bind(5353,()=>console.log('up'))}`;
const TCP_CLIENT = `const s=require('net').connect({host:process.argv[1],port:+process.argv[2],timeout:1500});s.on('connect',()=>s.end('hello'));s.on('data',(d)=>process.stdout.write(d));s.on('timeout',()=>{console.log('TIMEOUT');process.exit()});s.on('error',(e)=>console.log(e.code))`;
const UDP_CLIENT = `const h=process.argv[1];const s=require('dgram').createSocket(h.includes(':')?'udp6':'udp4');s.on('message',(d)=>{console.log(''+d);process.exit()});setTimeout(()=>{console.log('TIMEOUT');process.exit()},1500);s.send('hello',+process.argv[2],h)`;

/** Runs a client program without holding this process: the proxy lives here. */
async function client(netns: NetNamespace, program: string, host: string, port: number): Promise<string> {
  const child = spawn(...nsenter(netns, process.execPath, '-e', program, host, String(port)), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (data) => {
    output += data;
  });
  await once(child, 'close');
  return output.trim();
}

/** A host, somebody outside it, and two containers on one bridge; a third on another bridge. */
async function scene(scope: AsyncDisposableStack) {
  const make = async () => {
    const netns = scope.use(await NetNamespace.create());
    // The duplicate address test keeps link-local addresses, and with them neighbour discovery, back for a second.
    await sysctl.set('net.ipv6.conf.default.accept_dad', 0, { netns });
    return netns;
  };
  const [host, outside, a, b, c] = [await make(), await make(), await make(), await make(), await make()];
  await link.createVeth({ name: 'eth0', netns: host, up: true, peer: { name: 'eth0', netns: outside, up: true } });
  for (const [netns, four, six] of [
    [host, '198.51.100.1/24', '2001:db8:1::1/64'],
    [outside, '198.51.100.2/24', '2001:db8:1::2/64'],
  ] as const) {
    await address.add('eth0', four, { netns });
    await address.add('eth0', six, { netns, nodad: true });
  }
  const firewall = scope.use(await Firewall.open({ netns: host }));
  for (const [bridge, n, members] of [
    ['br0', 1, [a, b]],
    ['br1', 2, [c]],
  ] as const) {
    await link.createBridge({ name: bridge, netns: host, up: true });
    await address.add(bridge, `10.88.${n}.1/24`, { netns: host });
    await address.add(bridge, `fd00:${n}::1/64`, { netns: host, nodad: true });
    firewall.addNetwork({ bridge, subnets: [`10.88.${n}.0/24`, `fd00:${n}::/64`] });
    for (const [index, netns] of members.entries()) {
      await link.createVeth({
        name: `v${n}${index}`,
        netns: host,
        master: bridge,
        up: true,
        peer: { name: 'eth0', netns, up: true },
      });
      // With br_netfilter a container's own published port comes back through the bridge port it left by.
      await link.setBridgePort(`v${n}${index}`, { hairpin: true, netns: host });
      await address.add('eth0', `10.88.${n}.${index + 2}/24`, { netns });
      await address.add('eth0', `fd00:${n}::${index + 2}/64`, { netns, nodad: true });
      await route.add({ to: 'default', via: `10.88.${n}.1`, netns });
      await route.add({ to: 'default', via: `fd00:${n}::1`, netns });
    }
  }
  return { host, outside, a, b, c, firewall };
}

async function serve(scope: AsyncDisposableStack, netns: NetNamespace, name: string, program: string): Promise<void> {
  const child = spawn(...nsenter(netns, process.execPath, '-e', program, name), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  scope.defer(async () => {
    child.kill('SIGKILL');
    await once(child, 'close');
  });
  await once(child.stdout, 'data');
}

/** The class of Node 24; tests also run on 20. */
class AsyncDisposableStack {
  readonly #closers: (() => unknown)[] = [];
  use<Resource extends AsyncDisposable | Disposable>(resource: Resource): Resource {
    this.#closers.push(() =>
      Symbol.asyncDispose in resource ? resource[Symbol.asyncDispose]() : (resource as Disposable)[Symbol.dispose](),
    );
    return resource;
  }
  defer(closer: () => unknown): void {
    this.#closers.push(closer);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
  }
}

rootTest(
  'out is masqueraded, in is closed, networks are apart',
  async () => {
    await using scope = new AsyncDisposableStack();
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
    await using scope = new AsyncDisposableStack();
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
    await using scope = new AsyncDisposableStack();
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
    await using scope = new AsyncDisposableStack();
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
    await using scope = new AsyncDisposableStack();
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
    await using scope = new AsyncDisposableStack();
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
