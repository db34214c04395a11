import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  address,
  BridgeNetwork,
  type ConnectOptions,
  type Endpoint,
  link,
  type NetNamespace,
  neighbour,
  type RefusedConnection,
  Resolver,
} from '@ns/netns';
import { eventually, needs, notRoot } from '@ns/testing';
import { advertisementFrame, arpFrame, sendFrame, tagged, udpFrame } from './frames.ts';
import {
  client,
  hearUdp,
  hostAndOutside,
  inside,
  lookUp,
  machine,
  nsenter,
  ResourceStack,
  serve,
  setBridgeNetfilter,
  TCP_CLIENT,
  TCP_SERVER,
  UDP_CLIENT,
  UDP_SERVER,
} from './scene.ts';

const rootTest = needs(notRoot);
const gateway = '10.77.0.1';

/** A host with a network on it, and somebody outside who serves names and TCP on several addresses. */
async function world(
  scope: ResourceStack,
  { bridgeNetfilter = false, ...options }: { icc?: boolean; internal?: boolean; bridgeNetfilter?: boolean } = {},
) {
  const stateRoot = mkdtempSync(join(tmpdir(), 'network-'));
  scope.defer(() => rmSync(stateRoot, { recursive: true }));
  const { host, outside } = await hostAndOutside(scope);
  await setBridgeNetfilter(host, bridgeNetfilter ? 1 : 0);
  for (const one of ['198.51.100.3/24', '203.0.113.5/32', '169.254.169.254/32', '10.200.0.1/32'])
    await address.add('eth0', one, { netns: outside });
  await address.add('eth0', '2001:db8:1::3/64', { netns: outside, nodad: true });
  inside(host, 'ip', 'route', 'add', 'default', 'via', '198.51.100.2');
  // What is opened by name stays open until the test is over, also on an emulated machine.
  const upstream = scope.use(
    await Resolver.start({ netns: outside, listen: ['198.51.100.2'], upstreams: [], ttlSec: 600 }),
  );
  const network = scope.use(
    await BridgeNetwork.create({
      name: 'shared',
      subnet: '10.77.0.0/24',
      ipv6: { subnet: 'fd77::/64' },
      netns: host,
      stateRoot,
      upstreams: ['198.51.100.2'],
      ...options,
    }),
  );
  const member = async (owner: string, more: Partial<ConnectOptions> = {}) => {
    const netns = await machine(scope);
    return { netns, ...(await network.connect({ owner, netns, names: [owner], ...more })) };
  };
  return { stateRoot, host, outside, upstream, network, member };
}

rootTest('a policy of which somebody has removed a part by hand goes as a whole', async () => {
  await using scope = new ResourceStack();
  const { host, network, member } = await world(scope);
  const rules = () => inside(host, 'nft', 'list', 'ruleset');
  for (const [family, name, kind] of [
    ['inet', 'egress4', 'map'],
    ['inet', 'guarded6', 'map'],
    ['bridge', 'own4', 'set'],
    ['bridge', 'taken6', 'set'],
  ] as const) {
    const { address: at } = await member(name, { egress: { allow: ['203.0.113.0/24'] } });
    expect(rules()).toMatch(/chain egress_/);
    inside(host, 'nft', 'flush', kind, family, 'ns', name);
    await network.disconnect(name);
    expect(rules()).not.toMatch(/(egress|guard|refuse|opened)\w*_\w{20}/);
    expect(rules()).not.toContain(at);
  }
});

function refusedOf(scope: ResourceStack, network: BridgeNetwork, owner: string): RefusedConnection[] {
  const refused: RefusedConnection[] = [];
  const stop = new AbortController();
  const listening = (async () => {
    for await (const one of network.egressOf(owner)!.refused({ signal: stop.signal })) refused.push(one);
  })();
  scope.defer(async () => {
    stop.abort();
    await listening;
  });
  return refused;
}

rootTest(
  'containers on one network have policies of their own, against addresses, resolvers, IPv6 and rebinding',
  async () => {
    const beginMs = Date.now();
    await using scope = new ResourceStack();
    const { outside, upstream, network, member } = await world(scope);
    upstream.names.add('x', 'good.test', '198.51.100.2');
    upstream.names.add('x', 'good.test', '2001:db8:1::2');
    upstream.names.add('x', 'evil.test', '198.51.100.3');
    for (const one of ['169.254.169.254', '10.200.0.1', '198.51.100.3'])
      upstream.names.add('x', 'rebind.good.test', one);
    await serve(scope, outside, 'outside', TCP_SERVER);
    const a = await member('a', { egress: { allow: ['good.test:80', '*.good.test', '203.0.113.0/24:80/tcp'] } });
    const b = await member('b', { egress: { allow: ['evil.test'] } });
    const free = await member('free');
    const [refusedOfA, refusedOfB] = [refusedOf(scope, network, 'a'), refusedOf(scope, network, 'b')];
    const connect = (from: { netns: NetNamespace }, where: string, port = 80) =>
      client(from.netns, TCP_CLIENT, where, port);
    const ask = (from: { netns: NetNamespace }, name: string, type = 'A', server = gateway) =>
      lookUp(from.netns, name, type, server);

    // By address, before the name was asked.
    expect(await connect(a, '198.51.100.2')).toBe('ECONNREFUSED');
    expect(await connect(a, '2001:db8:1::2')).toBe('ECONNREFUSED');
    expect(await connect(a, '203.0.113.5')).toMatch(/^outside saw/);
    expect(await connect(a, '203.0.113.5', 81)).toBe('ECONNREFUSED');
    expect(await connect(b, '203.0.113.5')).toBe('ECONNREFUSED');
    expect(await connect(free, '203.0.113.5')).toMatch(/^outside saw/);
    for (const closed of ['169.254.169.254', '10.200.0.1', gateway])
      expect({ closed, got: await connect(a, closed) }).toEqual({ closed, got: 'ECONNREFUSED' });
    // Another resolver.
    expect(await ask(a, 'good.test', 'A', '198.51.100.2')).toMatch(/ECONNREFUSED|ETIMEOUT/);
    // The same names, asked by each.
    expect(await ask(a, 'good.test')).toBe('198.51.100.2');
    expect(await ask(b, 'good.test')).toBe('ENOTFOUND');
    expect(await ask(a, 'evil.test')).toBe('ENOTFOUND');
    expect(await ask(b, 'evil.test', 'A', '[fd77::1]')).toBe('198.51.100.3');
    expect(await ask(free, 'good.test', 'AAAA')).toBe('2001:db8:1::2');
    expect(await connect(a, '198.51.100.2')).toMatch(/^outside saw/);
    expect(await connect(a, '198.51.100.2', 81)).toBe('ECONNREFUSED');
    expect(await connect(b, '198.51.100.2')).toBe('ECONNREFUSED');
    expect(await connect(a, '198.51.100.3')).toBe('ECONNREFUSED');
    // What it opened for one version, and for one that has no policy, is not open for the other.
    expect(await connect(a, '2001:db8:1::2')).toBe('ECONNREFUSED');
    expect(await ask(a, 'good.test', 'AAAA', '[fd77::1]')).toBe('2001:db8:1::2');
    expect(await connect(a, '2001:db8:1::2')).toMatch(/^outside saw/);
    expect(await ask(a, 'rebind.good.test')).toBe('198.51.100.3');
    expect(await connect(a, '198.51.100.3')).toMatch(/^outside saw/);
    expect(await connect(a, '10.200.0.1')).toBe('ECONNREFUSED');

    const wasRefused = (list: RefusedConnection[], destination: string, port: number) =>
      list.some((one) => one.destination === destination && one.port === port);
    for (const [list, destination, port] of [
      [refusedOfB, '198.51.100.2', 80],
      [refusedOfA, '203.0.113.5', 81],
      [refusedOfA, '2001:db8:1::2', 80],
      [refusedOfA, '198.51.100.2', 53],
      [refusedOfA, gateway, 80],
    ] as const)
      expect(await eventually(() => wasRefused(list, destination, port))).toBe(true);
    expect(new Set(refusedOfA.map(({ source }) => source))).toEqual(new Set([a.address, a.address6]));
    expect(new Set(refusedOfB.map(({ source }) => source))).toEqual(new Set([b.address]));
    const timeMs = refusedOfB[0]!.time.getTime();
    expect(timeMs).toBeGreaterThanOrEqual(beginMs - 1);
    expect(timeMs).toBeLessThanOrEqual(Date.now() + 1);
  },
  90_000,
);

for (const bridgeNetfilter of [false, true])
  rootTest(
    `neighbours are reached as far as the policy says, by address or name, and reach it; br_netfilter: ${bridgeNetfilter}`,
    async () => {
      await using scope = new ResourceStack();
      const { network, member } = await world(scope, { bridgeNetfilter });
      const a = await member('a', { egress: { allow: ['db:80', '10.77.0.4:5353/udp'] } });
      const db = await member('db');
      const other = await member('other', { egress: { default: 'allow' } });
      expect(other.address).toBe('10.77.0.4');
      for (const [owner, { netns }] of Object.entries({ a, db, other })) {
        await serve(scope, netns, owner, TCP_SERVER);
        await serve(scope, netns, owner, UDP_SERVER);
      }
      const tcp = (from: { netns: NetNamespace }, where: string) => client(from.netns, TCP_CLIENT, where, 80);
      const udp = (from: { netns: NetNamespace }, where: string, patienceMs?: number) =>
        client(from.netns, UDP_CLIENT, where, 5353, patienceMs);
      expect(await tcp(a, db.address!)).toBe('ECONNREFUSED');
      expect(await lookUp(a.netns, 'other', 'A', gateway)).toBe('ENOTFOUND');
      expect(await lookUp(a.netns, other.address!, 'PTR', gateway)).toBe('ENOTFOUND');
      expect(await lookUp(a.netns, 'db', 'A', gateway)).toBe(db.address);
      expect(await tcp(a, db.address!)).toBe(`db saw ::ffff:${a.address} hello`);
      expect(await udp(a, db.address!, 1500)).toBe('TIMEOUT');
      expect(await tcp(a, db.address6!)).toBe('ECONNREFUSED');
      expect(await lookUp(a.netns, 'db', 'AAAA', gateway)).toBe(db.address6);
      expect(await tcp(a, db.address6!)).toBe(`db saw ${a.address6} hello`);
      expect(await udp(a, other.address!)).toBe('other heard hello');
      expect(await tcp(a, other.address!)).toBe('ECONNREFUSED');
      // Answers go back, of both protocols and versions; private addresses are closed to one that may go anywhere, too.
      for (const where of [a.address!, a.address6!]) {
        expect(await tcp(db, where)).toMatch(/^a saw/);
        expect(await udp(db, where)).toBe('a heard hello');
        expect(await tcp(other, where)).toBe('ECONNREFUSED');
      }
      expect(await tcp(db, other.address!)).toMatch(/^other saw/);
      expect(inside(db.netns, 'ping', '-c1', '-W2', a.address!)).toContain('1 received');
      expect(inside(a.netns, 'ping', '-c1', '-W2', gateway)).toContain('1 received');
      await network.disconnect('db');
      await network.changeEgressOf('a', { allow: ['10.77.0.0/24'] });
      expect(await tcp(a, other.address!)).toMatch(/^other saw/);
    },
    60_000,
  );

for (const bridgeNetfilter of [false, true])
  rootTest(
    `nobody is somebody else: addresses of IPv4, IPv6 and Ethernet on raw frames; br_netfilter: ${bridgeNetfilter}`,
    async () => {
      await using scope = new ResourceStack();
      const { host, outside, network, member } = await world(scope, { bridgeNetfilter });
      const victim = await member('victim', { egress: { allow: ['198.51.100.2', '2001:db8:1::2'] } });
      const strict = await member('strict', { egress: { allow: [] } });
      const free = await member('free');
      const bridgeMac = (await link.get(network.record.bridge, { netns: host }))!.mac!;
      const heard = await hearUdp(scope, outside);

      type Member = Endpoint & { netns: NetNamespace };
      const send = (from: Member, as: Member, to: string, over: { fromMac?: string; toMac?: string } = {}) => {
        const source = to.includes(':') ? as.address6! : as.address!;
        const path = { fromMac: as.mac, toMac: bridgeMac, from: source, to, ...over };
        return [udpFrame(path, `${from.owner} as ${as.owner} to ${to}`), path] as const;
      };
      for (const to of ['198.51.100.2', '2001:db8:1::2']) {
        for (const attacker of [strict, free]) {
          const [spoofed] = send(attacker, victim, to);
          await sendFrame(attacker.netns, spoofed);
          await sendFrame(attacker.netns, tagged(spoofed));
          // Its own MAC address, and somebody else's with its own IP address.
          await sendFrame(attacker.netns, send(attacker, victim, to, { fromMac: attacker.mac })[0]);
          await sendFrame(attacker.netns, send(attacker, victim, to, { fromMac: victim.mac, toMac: free.mac })[0]);
        }
        await sendFrame(strict.netns, send(strict, strict, to, { fromMac: victim.mac })[0]);
        await sendFrame(strict.netns, tagged(send(strict, strict, to)[0]));
        // An address nobody has would have nobody's policy.
        const nobody = to.includes(':') ? 'fd77::99' : '10.77.0.99';
        await sendFrame(strict.netns, send(strict, { ...strict, address: nobody, address6: nobody }, to)[0]);
        await sendFrame(victim.netns, send(victim, victim, to)[0]);
      }
      // What was sent last came, so what came before it has come or never will.
      expect(await eventually(() => heard.length >= 2)).toBe(true);
      expect(heard.sort()).toEqual(['victim as victim to 198.51.100.2', 'victim as victim to 2001:db8:1::2']);

      // Nor does anybody get what is meant for it.
      const lie = { fromMac: free.mac, toMac: bridgeMac, from: victim.address!, to: gateway };
      await sendFrame(free.netns, arpFrame(lie));
      await sendFrame(free.netns, udpFrame({ ...lie, fromMac: victim.mac, from: free.address! }, 'learn'));
      const lie6 = { ...lie, from: free.address6!, to: 'fd77::1' };
      await sendFrame(free.netns, advertisementFrame(lie6, victim.address6!));
      await sendFrame(
        strict.netns,
        advertisementFrame({ ...lie6, fromMac: strict.mac, from: strict.address6! }, free.address6!),
      );
      await serve(scope, outside, 'outside', TCP_SERVER);
      for (const to of ['198.51.100.2', '2001:db8:1::2'])
        expect(await client(victim.netns, TCP_CLIENT, to, 80)).toMatch(/^outside saw/);
      const neighbours = await neighbour.list({ netns: host, link: network.record.bridge });
      const macOf = (ip: string) => neighbours.find((one) => one.address === ip)?.mac;
      expect(macOf(victim.address!)).toBe(victim.mac);
      expect(macOf(victim.address6!)).toBe(victim.mac);
      expect(macOf(free.address6!)).not.toBe(strict.mac);
      const places = await neighbour.listFdb({ netns: host });
      // One entry for each VLAN of the port, where the kernel has them.
      const portsOf = (mac: string) => new Set(places.filter((one) => one.mac === mac).map((one) => one.link));
      expect(portsOf(victim.mac)).toEqual(new Set([victim.hostLink]));
    },
    60_000,
  );

rootTest('a change cuts the connections it forbids, and leaves the others', async () => {
  await using scope = new ResourceStack();
  const { outside, upstream, network, member } = await world(scope);
  upstream.names.add('x', 'named.test', '203.0.113.5');
  await serve(scope, outside, 'outside', TCP_SERVER);
  const names = ['named.test', '*.other.test'];
  const a = await member('a', {
    egress: { allow: ['198.51.100.2', '198.51.100.3:80/tcp', '2001:db8:1::2', ...names] },
  });
  const free = await member('free');
  await lookUp(a.netns, 'named.test', 'A', gateway);
  const [two, three, six, named] = await Promise.all(
    ['198.51.100.2', '198.51.100.3', '2001:db8:1::2', '203.0.113.5'].map((where) => talk(scope, a.netns, where)),
  );
  const unpoliced = await talk(scope, free.netns, '198.51.100.2');
  await network.changeEgressOf('a', { allow: ['198.51.100.3', ...names] });
  expect(await Promise.all([two!.say(), three!.say(), six!.say(), named!.say(), unpoliced.say()])).toEqual([
    'ECONNRESET',
    'heard',
    'ECONNRESET',
    'heard',
    'heard',
  ]);
  // Which name a connection is from nobody knows any more, so when one goes all do.
  await network.changeEgressOf('a', { allow: ['198.51.100.3', '*.other.test'] });
  expect(await Promise.all([three!.say(), named!.say(), unpoliced.say()])).toEqual(['heard', 'ECONNRESET', 'heard']);
});

rootTest('a name that leads to an address with a rule of its own opens no more than that rule', async () => {
  await using scope = new ResourceStack();
  const { upstream, outside, member } = await world(scope);
  upstream.names.add('x', 'evil.test', '10.200.0.1');
  await serve(scope, outside, 'outside', TCP_SERVER);
  const a = await member('a', { egress: { allow: ['10.200.0.1:81', 'evil.test'] } });
  expect(await lookUp(a.netns, 'evil.test', 'A', gateway)).toBe('10.200.0.1');
  expect(await client(a.netns, TCP_CLIENT, '10.200.0.1', 80)).toBe('ECONNREFUSED');
  const b = await member('b', { egress: { allow: ['10.200.0.1:80', 'evil.test'] } });
  expect(await client(b.netns, TCP_CLIENT, '10.200.0.1', 80)).toMatch(/^outside saw/);
});

rootTest('icc: false holds also for what is sent to the gateway to be routed back', async () => {
  await using scope = new ResourceStack();
  const { host, network, member } = await world(scope, { icc: false });
  const policed = await member('policed', { egress: { allow: ['10.77.0.0/24', 'fd77::/64'] } });
  const [a, b] = [await member('a'), await member('b')];
  const bridgeMac = (await link.get(network.record.bridge, { netns: host }))!.mac!;
  const heard = await hearUdp(scope, b.netns);
  for (const from of [a, policed])
    for (const toMac of [bridgeMac, b.mac])
      for (const [source, to] of [
        [from.address!, b.address!],
        [from.address6!, b.address6!],
      ] as const) {
        const path = { fromMac: from.mac, toMac, from: source, to };
        await sendFrame(from.netns, udpFrame(path, `${from.owner} as itself`));
      }
  // From the host, last.
  inside(
    host,
    process.execPath,
    '-e',
    `require('dgram').createSocket('udp4').send('host as host',9,'${b.address}',process.exit)`,
  );
  expect(await eventually(() => heard.length > 0)).toBe(true);
  expect(heard).toEqual(['host as host']);
});

/** A connection that stays: `say` sends a line and tells what came of it. */
async function talk(scope: ResourceStack, netns: NetNamespace, where: string): Promise<{ say(): Promise<string> }> {
  const program = `const s=require('net').connect({host:process.argv[1],port:80},()=>console.log('up'));s.on('data',()=>console.log('heard'));s.on('error',(e)=>console.log(e.code));process.stdin.on('data',(d)=>s.write(d));`;
  const child = spawn(...nsenter(netns, process.execPath, '-e', program, where), {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  scope.defer(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'close');
    }
  });
  const line = async () => String((await once(child.stdout, 'data'))[0]).trim();
  expect(await line()).toBe('up');
  return {
    say() {
      const heard = line();
      child.stdin.write('hello\n');
      return heard;
    },
  };
}
