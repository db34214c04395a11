import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { linkPayload, NetlinkSocket, RTM, RTNLGRP } from '@ns/netlink';
import { address, BridgeNetwork, Firewall, link, NetNamespace } from '@ns/netns';
import { needs, notRoot } from '@ns/testing';
import { client, inside, ResourceStack, serve, TCP_CLIENT, TCP_SERVER } from './scene.ts';

const rootTest = needs(notRoot);

async function world(scope: ResourceStack) {
  const stateRoot = mkdtempSync(join(tmpdir(), 'network-'));
  scope.defer(() => rmSync(stateRoot, { recursive: true }));
  const make = async () => scope.use(await NetNamespace.create());
  const host = await make();
  await link.createVeth({ name: 'eth0', netns: host, up: true, peer: { name: 'eth1', up: true } });
  await address.add('eth0', '198.51.100.1/24', { netns: host });
  return { stateRoot, host, make };
}

rootTest(
  'containers on a network reach each other by name, and their ports are reached from the host',
  async () => {
    await using scope = new ResourceStack();
    const { stateRoot, host, make } = await world(scope);
    const [a, b] = [await make(), await make()];
    {
      await using network = await BridgeNetwork.create({
        name: 'web',
        subnet: '10.77.0.0/24',
        netns: host,
        stateRoot,
        upstreams: [],
      });
      const first = await network.connect({ owner: 'a', netns: a, names: ['a'] });
      const second = await network.connect({
        owner: 'b',
        netns: b,
        names: ['b'],
        aliases: ['alias'],
        ports: ['8080:80'],
      });
      expect(first).toMatchObject({ link: 'eth0', address: '10.77.0.2', mac: '02:42:0a:4d:00:02' });
      expect(second.ports).toContainEqual({
        protocol: 'tcp',
        hostAddress: '0.0.0.0',
        hostPort: 8080,
        address: '10.77.0.3',
        port: 80,
      });
      await serve(scope, b, 'b', TCP_SERVER);
      expect(await client(a, TCP_CLIENT, '10.77.0.3', 80)).toMatch(/^b saw/);
      expect(await client(a, TCP_CLIENT, second.address6!, 80)).toMatch(/^b saw/);
      expect(await client(host, TCP_CLIENT, '127.0.0.1', 8080)).toMatch(/^b saw/);
      expect(await client(b, TCP_CLIENT, '198.51.100.1', 8080)).toMatch(/^b saw/);
      const lookUp = `const r=new (require('dns').promises.Resolver)();r.setServers([process.argv[1]]);r.resolve4(process.argv[2]).then((x)=>console.log(x[0]),(e)=>console.log(e.code))`;
      expect(await client(a, lookUp, '10.77.0.1', 'alias')).toBe('10.77.0.3');
      await expect(network.connect({ owner: 'b', netns: b })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
      await expect(BridgeNetwork.create({ name: 'web', netns: host, stateRoot })).rejects.toMatchObject({
        code: 'ERR_NS_NETWORK_EXISTS',
      });
      await expect(
        BridgeNetwork.create({ name: 'other', subnet: '10.77.0.128/25', netns: host, stateRoot }),
      ).rejects.toMatchObject({ code: 'ERR_NS_SUBNET_OVERLAP' });
      await network.rename('b', () => ['C']);
      expect(await client(a, lookUp, '10.77.0.1', 'b')).toBe('ENOTFOUND');
      for (const name of ['c', 'alias']) expect(await client(a, lookUp, '10.77.0.1', name)).toBe('10.77.0.3');
      // Who leaves at that moment does not come back.
      const [renamed] = await Promise.all([network.rename('b', () => ['b']), network.disconnect('b')]);
      expect(renamed?.names ?? ['b', 'alias']).toEqual(['b', 'alias']);
      await network.disconnect('b');
      expect((await network.endpoints()).map(({ owner }) => owner)).toEqual(['a']);
      expect(await network.rename('b', () => ['b'])).toBeUndefined();
      expect(await link.get('eth0', { netns: b })).toBeUndefined();
      expect(await client(a, lookUp, '10.77.0.1', 'b')).toBe('ENOTFOUND');
      expect((await network.endpoints()).map((endpoint) => endpoint.owner)).toEqual(['a']);
    }
    using firewall = await Firewall.open({ netns: host });
    expect(firewall.published()).toEqual([]);
    expect((await link.list({ netns: host })).map(({ name }) => name).filter((name) => name.startsWith('ns'))).toEqual(
      [],
    );
    expect(inside(host, 'nft', 'list', 'table', 'inet', 'ns')).not.toContain('elements');
    expect(await BridgeNetwork.list({ stateRoot })).toEqual([]);
    expect(readdirSync(join(stateRoot, 'subnets'))).toEqual(['.lock']);
  },
  60_000,
);

rootTest(
  'a network outlives its process, and prune finds what a crash left',
  async () => {
    await using scope = new ResourceStack();
    const { stateRoot, host, make } = await world(scope);
    const created = await BridgeNetwork.create({ name: 'kept', netns: host, stateRoot, upstreams: [] });
    const lost = await NetNamespace.create();
    await created.connect({ owner: 'lost', netns: lost, ports: ['9090:90'] });
    lost.close();
    await created.close();
    const opened = await BridgeNetwork.open('kept', { netns: host, stateRoot, upstreams: [] });
    const one = await make();
    await opened.connect({ owner: 'one', netns: one });
    expect(await opened.prune((owner) => owner === 'lost')).toEqual(['lost']);
    expect((await opened.endpoints()).map((endpoint) => endpoint.owner)).toEqual(['one']);
    using firewall = await Firewall.open({ netns: host });
    expect(firewall.published()).toEqual([]);
    await opened.remove();
    await opened.remove();
    await expect(BridgeNetwork.open('kept', { netns: host, stateRoot })).rejects.toMatchObject({
      code: 'ERR_NS_NETWORK_NOT_FOUND',
    });
  },
  60_000,
);

rootTest('icc off keeps containers apart, both reach the gateway', async () => {
  await using scope = new ResourceStack();
  const { stateRoot, host, make } = await world(scope);
  const [a, b] = [await make(), await make()];
  await using network = await BridgeNetwork.create({
    name: 'apart',
    subnet: '10.78.0.0/24',
    netns: host,
    stateRoot,
    icc: false,
    upstreams: [],
    ipv6: 'none',
  });
  await network.connect({ owner: 'a', netns: a });
  await network.connect({ owner: 'b', netns: b });
  expect(() => inside(a, 'ping', '-c1', '-W1', '10.78.0.3')).toThrow();
  expect(inside(a, 'ping', '-c1', '-W1', '10.78.0.1')).toMatch(/1 received/);
});

rootTest('an internal network publishes no ports, and says so', async () => {
  await using scope = new ResourceStack();
  const { stateRoot, host, make } = await world(scope);
  const a = await make();
  await using network = await BridgeNetwork.create({ name: 'inner', netns: host, stateRoot, internal: true });
  await expect(network.connect({ owner: 'a', netns: a, ports: ['8080:80'] })).rejects.toMatchObject({
    code: 'ERR_NS_INVALID_SPEC',
    field: 'ports',
  });
  expect(await network.endpoints()).toEqual([]);
});

rootTest('when a step fails, nothing is left', async () => {
  await using scope = new ResourceStack();
  const { stateRoot, host, make } = await world(scope);
  const a = await make();
  await using network = await BridgeNetwork.create({
    name: 'small',
    subnet: '10.79.0.0/30',
    netns: host,
    stateRoot,
    upstreams: [],
    ipv6: 'none',
  });
  await expect(network.connect({ owner: 'a', netns: a, ports: ['70000:80'] })).rejects.toMatchObject({
    code: 'ERR_NS_INVALID_SPEC',
  });
  await expect(network.connect({ owner: 'a', netns: a, link: 'lo' })).rejects.toMatchObject({ code: 'EEXIST' });
  await network.connect({ owner: 'a', netns: a });
  await expect(network.connect({ owner: 'b', netns: a })).rejects.toMatchObject({
    code: 'ERR_NS_ADDRESS_POOL_EXHAUSTED',
  });
  expect((await network.endpoints()).map((endpoint) => endpoint.owner)).toEqual(['a']);
  expect(await link.list({ netns: host, kind: 'veth', master: network.record.bridge })).toHaveLength(1);
});

rootTest(
  '100 containers connect at once',
  async () => {
    await using scope = new ResourceStack();
    const { stateRoot, host, make } = await world(scope);
    await using network = await BridgeNetwork.create({
      name: 'crowd',
      subnet: '10.80.0.0/16',
      netns: host,
      stateRoot,
      upstreams: [],
    });
    const all = await Promise.all(Array.from({ length: 100 }, make));
    const endpoints = await Promise.all(
      all.map((netns, index) => network.connect({ owner: `c${index}`, netns, ports: ['0:80'] })),
    );
    expect(new Set(endpoints.map((endpoint) => endpoint.address)).size).toBe(100);
    expect(new Set(endpoints.map((endpoint) => endpoint.ports[0]!.hostPort)).size).toBe(100);
    expect(inside(all[0]!, 'ping', '-c1', '-W2', endpoints[99]!.address!)).toMatch(/1 received/);
  },
  120_000,
);

rootTest('links of those who leave at once are removed together', async () => {
  await using scope = new ResourceStack();
  const { stateRoot, host, make } = await world(scope);
  await using network = await BridgeNetwork.create({ name: 'crowd', netns: host, stateRoot, upstreams: [] });
  const owners = Array.from({ length: 8 }, (_, index) => `c${index}`);
  for (const owner of owners) await network.connect({ owner, netns: await make() });
  const hostLinks = (await network.endpoints()).map(({ hostLink }) => hostLink);
  using socket = NetlinkSocket.open({ namespaceFd: host.fd, groups: [RTNLGRP.LINK] });
  await link.remove(hostLinks[3]!, { netns: host });
  await Promise.all(owners.map((owner) => network.disconnect(owner)));
  await link.createBridge({ name: 'last', netns: host });
  const groups = new Set<number | undefined>();
  for await (const { type, payload } of socket.events()) {
    const { name, group } = linkPayload().decode(payload).attributes;
    if (name === 'last') break;
    if (type === RTM.NEWLINK) groups.add(group);
  }
  // The first goes alone, the others in a group of their own.
  expect([...groups].filter((group) => group !== 0 && group !== undefined)).toHaveLength(1);
  const links = await link.list({ netns: host });
  expect(links.filter(({ name }) => hostLinks.includes(name))).toEqual([]);
  expect(await network.endpoints()).toEqual([]);
});

rootTest(
  'two state roots have networks of one name; one whose state was lost gives way unless something is on it',
  async () => {
    await using scope = new ResourceStack();
    const { stateRoot, host } = await world(scope);
    const bridges = async () =>
      (await link.list({ netns: host })).map(({ name }) => name).filter((name) => /^nsb/.test(name));
    const [one, other] = [join(stateRoot, 'one'), join(stateRoot, 'other')];
    const web = await BridgeNetwork.create({ name: 'web', netns: host, stateRoot: one });
    const { bridge } = web.record;
    {
      await using _ = await BridgeNetwork.create({ name: 'web', netns: host, stateRoot: other });
      expect(await bridges()).toHaveLength(2);
    }
    expect(await bridges()).toEqual([bridge]);

    await web.close();
    rmSync(one, { recursive: true });
    await link.createVeth({ name: 'port', netns: host, master: bridge, peer: { name: 'peer', netns: host } });
    await expect(BridgeNetwork.create({ name: 'web', netns: host, stateRoot: one })).rejects.toMatchObject({
      code: 'ERR_NS_NETWORK_EXISTS',
      hint: expect.stringContaining(bridge),
    });
    expect(await link.get('port', { netns: host })).toBeDefined();
    expect(await BridgeNetwork.list({ stateRoot: one })).toEqual([]);
    await link.remove('port', { netns: host });
    await (await BridgeNetwork.create({ name: 'web', netns: host, stateRoot: one })).remove();
    expect(await bridges()).toEqual([]);
  },
  60_000,
);
