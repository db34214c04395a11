import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Container, type ContainerEvent, Network, prune, run } from '@ns/core';
import { link, shaping } from '@ns/netns';
import { eventually, needs, notRoot } from '@ns/testing';
import { get, getProgram, idle, makeOutside, serve, serverProgram, useOwnHost } from './network-host.ts';

const test = needs(notRoot);
useOwnHost();

test('a container is found by its name, from another one and through a published port', async () => {
  await using network = await Network.create({ name: 'web', dns: [] });
  await using web = await serve('hello', { name: 'web', network, ports: ['127.0.0.1:0:80'] });
  const ip = web.networks.web!.address!;
  const { stdout } = await run(process.execPath, ['-e', getProgram('http://web/')], { network: 'web' });
  expect(stdout).toMatch(/^hello for /);
  const [port] = web.ports;
  expect(port).toMatchObject({ protocol: 'tcp', port: 80, address: ip });
  const answer = await fetch(`http://127.0.0.1:${port!.hostPort}/`);
  expect(await answer.text()).toContain('hello for');
  expect((await web.exec('cat', ['/etc/hosts'])).stdout).toContain(`${ip}\t${web.id.slice(0, 12)} web`);
  expect(await Network.list()).toMatchObject([{ name: 'web', containers: [{ id: web.id, address: ip }] }]);
  await expect(network.remove()).rejects.toMatchObject({ code: 'ERR_NS_NETWORK_IN_USE', containers: [web.id] });
  await expect(Network.create({ name: 'web' })).rejects.toMatchObject({ code: 'ERR_NS_NETWORK_EXISTS' });
  expect((await web.stats()).network).toHaveProperty('eth0');
});

test('static addresses, aliases, IPv6, parameters of the namespace, and a restart', async () => {
  await using network = await Network.create({
    name: 'static',
    subnet: '10.123.0.0/24',
    ipv6: { subnet: 'fd12:3456::/64' },
    dns: [],
  });
  const attachment = { network, ip: '10.123.0.77', ip6: 'fd12:3456::77', mac: '02:00:00:00:00:77', aliases: ['db'] };
  await using a = await serve('static', {
    network: attachment,
    user: '65534',
    sysctls: { 'net.ipv4.ip_default_ttl': 42 },
    extraHosts: ['elsewhere:192.0.2.1', 'elsewhere=[fd12::1]', 'machine:host-gateway'],
  });
  await using b = await idle({ network: ['static'], hostname: 'client' });
  expect(await get(b, 'http://db/', 4)).toBe(`static for ::ffff:${b.networks.static!.address}`);
  expect(await get(b, 'http://db/', 6)).toBe(`static for ${b.networks.static!.address6}`);
  const { stdout } = await a.exec('sh', [
    '-c',
    'cat /sys/class/net/eth0/address /proc/sys/net/ipv4/ip_default_ttl /etc/hosts',
  ]);
  expect(stdout).toContain('02:00:00:00:00:77\n42\n');
  expect(stdout).toContain('192.0.2.1\telsewhere\nfd12::1\telsewhere\n10.123.0.1\tmachine\n');
  await b.restart();
  expect((await b.exec('cat', ['/etc/hosts'])).stdout).toContain(`${b.networks.static!.address}\tclient`);
  expect(await get(b, 'http://db/')).toContain('static for');
  await expect(Container.create({ command: ['true'], network: attachment })).rejects.toMatchObject({
    code: 'ERR_NS_ADDRESS_IN_USE',
  });
});

test('a wrong address is that of the field in which it was written', async () => {
  await using network = await Network.create({ name: 'wrong', subnet: '10.77.0.0/24', ipv6: false });
  const command = ['sleep', 'infinity'];
  const refused = async (making: Promise<unknown>) =>
    ((await making.catch((error) => error)) as { field?: string }).field;
  expect(await refused(Container.create({ command, network: { network, ip: '10.78.0.2' } }))).toBe('network.ip');
  expect(await refused(Container.create({ command, network: [{ network, ip6: 'fd00::2' }] }))).toBe('network[0].ip6');
  expect(await refused(Container.create({ command, network: [{ network, ip: '1.2' }] }))).toBe('network[0].ip');
  const subnet = '10.79.0.0/24';
  expect(await refused(Network.create({ name: 'a', subnet, ipRange: '10.80.0.0/25' }))).toBe('ipRange');
  const auxAddresses = { router: '10.80.0.1' };
  expect(await refused(Network.create({ name: 'a', subnet, auxAddresses }))).toBe('auxAddresses.router');
  await using container = await idle({});
  expect(await refused(network.connect(container, { ip: '10.78.0.2' }))).toBe('ip');
});

test('a network that was removed is none any more', async () => {
  await using network = await Network.create({ name: 'gone', egress: { default: 'allow' }, ipv6: false });
  await network.remove();
  const gone = { code: 'ERR_NS_NETWORK_NOT_FOUND', hint: expect.any(String) };
  await expect(network.inspect()).rejects.toMatchObject(gone);
  await expect(network.update({ egress: { default: 'deny' } })).rejects.toMatchObject(gone);
  await expect(network.connect('none')).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_NOT_FOUND' });
  expect(await Network.list()).toEqual([]);
});

test('several networks, connected and disconnected while it runs', async () => {
  await using front = await Network.create({ name: 'front', dns: [] });
  await using back = await Network.create({ name: 'back', internal: true });
  await using db = await serve('db', { name: 'db', network: back });
  await using both = await idle({ network: ['front', { network: back, aliases: ['two'] }] });
  expect(await get(both, 'http://db/')).toContain('db for');
  await using web = await serve('web', { name: 'web', network: front });
  expect(await get(both, 'http://web/')).toContain('web for');
  expect(await get(web, 'http://db/')).toBe('ENOTFOUND');
  await back.connect(web, { aliases: ['backstage'] });
  expect(await get(web, 'http://db/')).toContain('db for');
  expect(await get(db, 'http://backstage/')).toContain('web for');
  await back.disconnect(web);
  expect(await get(web, 'http://db/')).toBe('ENOTFOUND');
  expect(await get(db, 'http://backstage/')).toBe('ENOTFOUND');
  // Made without a network.
  await using lonely = await idle({});
  expect(await get(lonely, 'http://web/')).toMatch(/EAI_AGAIN|ENOTFOUND/);
  await front.connect(lonely.id);
  expect(await get(lonely, `http://${web.networks.front!.address}/`)).toContain('web for');
});

test('ports of a container whose networks are all internal are refused; one that is not leads in', async () => {
  await using back = await Network.create({ name: 'back', internal: true });
  await using vault = await Network.create({ name: 'vault', internal: true });
  for (const network of [back, [back, vault]])
    await expect(Container.create({ command: ['true'], network, ports: ['0:80'] })).rejects.toMatchObject({
      code: 'ERR_NS_INVALID_SPEC',
      field: 'ports',
      message: expect.stringContaining('internal'),
    });
  expect((await back.inspect()).containers).toEqual([]);
  await using front = await Network.create({ name: 'front', dns: [] });
  await using web = await serve('web', { network: [back, front], ports: ['0:80'] });
  const answer = await fetch(`http://127.0.0.1:${web.ports[0]!.hostPort}/`);
  expect(await answer.text()).toContain('web for');
});

test('a port that another container has: the error says which', async () => {
  await using network = await Network.create({ name: 'web', ipv6: false, dns: [] });
  await using first = await idle({ name: 'first', network, ports: ['8099:80', '127.0.0.1:8100:80'] });
  // On networks of their own.
  await using second = await idle({ ports: ['8101:80'] });
  const message = async (port: string): Promise<string> => {
    const failed = await Container.create({ command: ['true'], ports: [port] }).catch((error) => error);
    expect(failed).toMatchObject({ code: 'ERR_NS_PORT_IN_USE' });
    return failed.message;
  };
  const firstOnes = `container ${first.id.slice(0, 12)} (first)`;
  const secondOnes = `container ${second.id.slice(0, 12)}`;
  expect(await message('8099:80')).toContain(`port 0.0.0.0:8099/tcp of the host is in use by ${firstOnes}`);
  expect(await message('127.0.0.1:8099:80')).toContain(`port 127.0.0.1:8099/tcp of the host is in use by ${firstOnes}`);
  expect(await message('8100:80')).toContain(`port 0.0.0.0:8100/tcp of the host is in use by ${firstOnes}`);
  expect(await message('8099-8101:80')).toContain(
    `every one of ports 8099 to 8101/tcp of the host is in use by ${firstOnes} and ${secondOnes}`,
  );
  const server = createServer().listen(8102);
  await once(server, 'listening');
  expect(await message('8102:80')).toContain('another program');
  server.close();
});

test('icc: false keeps containers apart, internal ones in', async () => {
  using outside = await makeOutside();
  await using apart = await Network.create({ name: 'apart', icc: false, ipv6: false, dns: [] });
  await using a = await serve('a', { name: 'a', network: apart });
  await using b = await idle({ network: apart });
  const { stdout } = await b.exec(process.execPath, ['-e', getProgram('http://a/', 0, 2000)]);
  expect(stdout).toMatch(/TIMEOUT|EHOSTUNREACH/);
  expect(outside.fd).toBeGreaterThan(0);
  await link.remove('uplink');
  expect(a.status).toBe('running');
});

test('an egress policy of a container: what it refuses is an event, and it can change while it runs', async () => {
  await using _outside = await serveOutside();
  await using c = await idle({ egress: { allow: ['198.51.100.2:80'] }, idMap: 'auto' });
  const refused = refusedBy(c);
  expect(await get(c, 'http://198.51.100.2/')).toBe('outside for ::ffff:198.51.100.1');
  expect(await get(c, 'http://198.51.100.3/')).toBe('ECONNREFUSED');
  expect(await eventually(() => refused.length > 0)).toBe(true);
  expect(refused[0]).toMatchObject({
    destination: '198.51.100.3',
    port: 80,
    protocol: 'tcp',
    time: expect.any(Date),
  });
  const changes = await c.update({ egress: { allow: ['198.51.100.3'] } });
  expect(changes).toEqual([{ field: 'egress.allow', from: ['198.51.100.2:80'], to: ['198.51.100.3'] }]);
  expect(await get(c, 'http://198.51.100.3/')).toContain('outside for');
  expect(await get(c, 'http://198.51.100.2/')).toBe('ECONNREFUSED');
});

test('containers that share a network have egress policies of their own, on all of their networks', async () => {
  await using _outside = await serveOutside();
  await using shared = await Network.create({ name: 'shared', dns: [] });
  await using inner = await Network.create({ name: 'inner', internal: true });
  await using db = await serve('db', { name: 'db', network: inner });
  await using a = await idle({ name: 'a', network: [shared, inner], egress: { allow: ['198.51.100.2:80', 'db:80'] } });
  await using b = await idle({ name: 'b', network: shared, egress: { allow: ['198.51.100.3:80'] } });
  await using free = await serve('free', { name: 'free', network: shared });
  const [refusedByA, refusedByB] = [refusedBy(a), refusedBy(b)];
  expect(await get(a, 'http://198.51.100.2/')).toContain('outside for');
  expect(await get(a, 'http://198.51.100.3/')).toBe('ECONNREFUSED');
  expect(await get(b, 'http://198.51.100.3/')).toContain('outside for');
  expect(await get(b, 'http://198.51.100.2/')).toBe('ECONNREFUSED');
  expect(await get(free, 'http://198.51.100.2/')).toContain('outside for');
  // Neighbours are no exception: on both networks, by address and by name.
  expect(await get(a, `http://${db.networks.inner!.address}/`)).toBe('ECONNREFUSED');
  expect(await get(a, 'http://db/')).toContain('db for');
  expect(await get(a, 'http://free/')).toBe('ENOTFOUND');
  expect(await get(a, `http://${free.networks.shared!.address}/`)).toBe('ECONNREFUSED');
  const destinations = (refused: Refused[]) => [...new Set(refused.map(({ destination }) => destination))].sort();
  const expected = [db.networks.inner!.address, free.networks.shared!.address, '198.51.100.3'].sort();
  expect(await eventually(() => destinations(refusedByA).length === 3 && refusedByB.length > 0)).toBe(true);
  expect(destinations(refusedByA)).toEqual(expected);
  expect(destinations(refusedByB)).toEqual(['198.51.100.2']);
  const members = (await shared.inspect()).containers;
  expect(members.find(({ id }) => id === b.id)!.egress).toEqual({ allow: ['198.51.100.3:80'] });

  await b.update({ egress: { allow: ['198.51.100.2:80'] } });
  expect(await get(b, 'http://198.51.100.2/')).toContain('outside for');
  expect(await get(b, 'http://198.51.100.3/')).toBe('ECONNREFUSED');
  expect(await get(a, 'http://198.51.100.2/')).toContain('outside for');
  // Connected while it runs, and run anew, it has the policy of now.
  await inner.connect(b);
  expect(await get(b, `http://${db.networks.inner!.address}/`)).toBe('ECONNREFUSED');
  await b.restart();
  expect(await get(b, 'http://198.51.100.2/')).toContain('outside for');
  expect(await get(b, 'http://198.51.100.3/')).toBe('ECONNREFUSED');
  await expect(free.update({ egress: { allow: [] } })).rejects.toMatchObject({ code: 'ERR_NS_NO_EGRESS_POLICY' });
});

test('of many changes of a policy at once none fails, and the last one stays', async () => {
  await using network = await Network.create({ name: 'changing', egress: { allow: [] } });
  const policies = Array.from({ length: 8 }, (_, i) => ({ allow: [`198.51.100.${i}:80`] }));
  await Promise.all(policies.map((egress) => network.update({ egress })));
  expect((await network.inspect()).egress).toEqual(policies.at(-1));
});

type Refused = Extract<ContainerEvent, { type: 'egress' }>;

function refusedBy(container: Container): Refused[] {
  const refused: Refused[] = [];
  container.on('egress', (event) => refused.push(event));
  return refused;
}

/** An HTTP server at 198.51.100.2 and .3. */
async function serveOutside(): Promise<AsyncDisposable> {
  const outside = await makeOutside();
  const server = spawn(
    'nsenter',
    [`--net=/proc/${process.pid}/fd/${outside.fd}`, process.execPath, '-e', serverProgram('outside')],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await once(server.stdout, 'data');
  return {
    async [Symbol.asyncDispose]() {
      server.kill('SIGKILL');
      await once(server, 'close');
      await link.remove('uplink');
      outside.close();
    },
  };
}

test('bandwidth in both directions, and changed', async () => {
  await using network = await Network.create({ name: 'slow', dns: [] });
  await using c = await idle({ network, bandwidth: { ingress: '10Mbit', egress: 5_000_000 } });
  const rateOf = async () => {
    const [qdisc] = await shaping.list({ link: c.networks.slow!.hostLink });
    return qdisc?.bitsPerSec;
  };
  expect(await rateOf()).toBe(10_000_000);
  await c.update({ bandwidth: { ingress: '20Mbit', egress: undefined } } as object);
  expect(await rateOf()).toBe(20_000_000);
  expect(await shaping.list({ link: 'eth0', netns: { pid: c.pid! } })).toMatchObject([{ bitsPerSec: 5_000_000 }]);
});

test('what contradicts itself is said before anything is made', async () => {
  const create = (spec: object) => Container.create({ command: ['true'], ...spec });
  for (const spec of [
    { network: 'none', ports: ['80'] },
    { network: 'host', egress: {} },
    { network: 'x', bandwidth: { egress: 'fast' } },
    { network: [{ network: 'x', ip: '::1' }] },
    { network: ['x', 'x'] },
    { network: ['host', 'x'] },
    { extraHosts: { 'a\nb': '1.1.1.1' } },
    { extraHosts: ['a:1.1.1'] },
    { extraHosts: ['a b:1.1.1.1'] },
    { extraHosts: ['a:1.1.1.1\n2.2.2.2\tb'] },
    { extraHosts: ['a:host-gateway'] },
    { network: 'none', namespaces: { net: 'host' } },
    { network: 'host', namespaces: { net: 'private' } },
    { network: 'x', namespaces: { net: 'host' } },
    { ports: ['80'], namespaces: { net: { container: 'x' } } },
    { dns: ['1.1.1.1\nsearch x'] },
  ])
    await expect(create(spec)).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
  await expect(create({ network: 'nowhere' })).rejects.toMatchObject({ code: 'ERR_NS_NETWORK_NOT_FOUND' });
  for (const options of [
    { name: '../x' },
    { name: 'host' },
    { name: 'a', subnet: '10.0.0.0/33' },
    { name: 'a', mtu: 1 },
  ])
    await expect(Network.create(options)).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
});

test('none, host, those of others: as before', async () => {
  await using network = await Network.create({ name: 'shared', dns: [] });
  await using c = await idle({ network });
  const links = async (spec: object) =>
    (await run('sh', ['-c', 'ls /sys/class/net'], spec)).stdout.trim().split(/\s+/).join(' ');
  expect(await links({})).toBe('lo');
  expect(await links({ network: 'none' })).toBe('lo');
  // What is said twice, alike, is said.
  expect(await links({ network: 'none', namespaces: { net: 'private' } })).toBe('lo');
  expect(await links({ network: 'host', namespaces: { net: 'host' } })).toContain('nsb');
  expect(await links({ network: { container: c } })).toBe('eth0 lo');
  expect(await links({ network: { path: `/proc/${c.pid}/ns/net` } })).toBe('eth0 lo');
  expect(await links({ network: 'host' })).toContain('nsb');
});

test('on the network of others it has their names besides its own', async () => {
  const extraHosts = { elsewhere: '192.0.2.1' };
  const dns = ['192.0.2.53'];
  const filesWith = async (spec: object) => {
    const read = async (path: string) => (await run('cat', [path], spec)).stdout;
    return { hosts: await read('/etc/hosts'), resolvers: await read('/etc/resolv.conf') };
  };
  const [hosts, resolvers] = ['/etc/hosts', '/etc/resolv.conf'].map((path) => readFileSync(path, 'utf8'));
  const others = (text: string) => text.split('\n').filter((line) => line && !line.startsWith('nameserver'));
  expect(await filesWith({ network: 'host' })).toEqual({ hosts, resolvers });
  expect(await filesWith({ network: 'host', extraHosts })).toEqual({
    hosts: `${hosts!.replace(/\n$/, '')}\n192.0.2.1\telsewhere\n`,
    resolvers,
  });
  const withDns = await filesWith({ network: 'host', dns });
  expect(withDns.hosts).toBe(hosts);
  expect(withDns.resolvers.match(/^nameserver.*$/gm)).toEqual(['nameserver 192.0.2.53']);
  expect(others(withDns.resolvers)).toEqual(others(resolvers!));

  await using network = await Network.create({ name: 'shared', dns: [] });
  await using c = await idle({ network, name: 'shared-with', extraHosts: { before: '192.0.2.2' } });
  const { stdout: theirs } = await c.exec('cat', ['/etc/hosts']);
  expect(theirs).toContain('192.0.2.2\tbefore\n');
  const shared = await filesWith({ network: { container: c }, extraHosts });
  expect(shared.hosts).toBe(`${theirs}192.0.2.1\telsewhere\n`);
  // Of a path nobody knows whose it is.
  const byPath = await filesWith({ network: { path: `/proc/${c.pid}/ns/net` }, extraHosts });
  expect(byPath.hosts).toBe(`${hosts!.replace(/\n$/, '')}\n192.0.2.1\telsewhere\n`);
});

test('who asks for the address of the host where it has none is told so', async () => {
  const extraHosts = ['machine:host-gateway'];
  for (const spec of [{}, { network: 'host' }])
    await expect(run('true', [], { ...spec, extraHosts })).rejects.toMatchObject({
      field: 'extraHosts',
      message: expect.stringContaining('give the container such a network'),
    });
});

test('prune spares the living', async () => {
  await using network = await Network.create({ name: 'kept', dns: [] });
  await using c = await idle({ network, ports: ['0:80'] });
  await delay(10);
  expect(await prune()).toMatchObject({ networks: [], endpoints: [], failed: [] });
  expect(c.ports).not.toEqual([]);
});
