import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  address,
  BridgeNetwork,
  type BridgeNetworkOptions,
  link,
  listClaims,
  NetNamespace,
  overlaps,
  parseSubnet,
} from '@ns/netns';
import { needs, notRoot } from '@ns/testing';
import { inside, ResourceStack } from './scene.ts';

const rootTest = needs(notRoot);

async function world(scope: ResourceStack) {
  const stateRoot = mkdtempSync(join(tmpdir(), 'network-'));
  scope.defer(() => rmSync(stateRoot, { recursive: true }));
  const host = scope.use(await NetNamespace.create());
  const create = async (name: string, options: Partial<BridgeNetworkOptions> = {}) =>
    scope.use(await BridgeNetwork.create({ name, netns: host, stateRoot, upstreams: [], ...options }));
  const container = async () => scope.use(await NetNamespace.create());
  const left = async () => ({
    links: (await link.list({ netns: host })).map(({ name }) => name),
    rules: inside(host, 'nft', 'list', 'ruleset'),
    files: ['networks', 'ipam'].flatMap((directory) => readdirSync(join(stateRoot, directory))),
    claims: readdirSync(join(stateRoot, 'subnets')).filter((file) => file !== '.lock'),
  });
  return { stateRoot, host, create, container, left };
}

const nothing = { links: ['lo'], rules: '', files: [], claims: [] };
const codesOf = (results: readonly PromiseSettledResult<unknown>[]) =>
  results.map((result) => (result.status === 'fulfilled' ? 'done' : (result.reason as { code: string }).code)).sort();

rootTest(
  'a /31 and a /127 have room for the gateway and one container, which reach each other, and for nobody else',
  async () => {
    await using scope = new ResourceStack();
    const { host, create, container, left } = await world(scope);
    const network = await create('two', { subnet: '10.80.0.0/31', ipv6: { subnet: 'fd80::/127' } });
    expect(network.gateways).toEqual(['10.80.0.0', 'fd80::']);
    const first = await container();
    const endpoint = await network.connect({ owner: 'first', netns: first });
    expect(endpoint).toMatchObject({ address: '10.80.0.1', address6: 'fd80::1' });
    for (const gateway of network.gateways)
      expect(inside(first, 'ping', '-c1', '-W5', gateway)).toContain('1 received');
    for (const own of [endpoint.address!, endpoint.address6!])
      expect(inside(host, 'ping', '-c1', '-W5', own)).toContain('1 received');
    // RFC 3021: no broadcast address.
    expect(JSON.parse(inside(first, 'ip', '-j', '-4', 'address', 'show', 'eth0'))[0].addr_info[0].broadcast).toBe(
      undefined,
    );
    const before = await left();
    await expect(network.connect({ owner: 'second', netns: await container() })).rejects.toMatchObject({
      code: 'ERR_NS_ADDRESS_POOL_EXHAUSTED',
    });
    expect(await left()).toEqual(before);
    await network.disconnect('first');
    expect((await network.connect({ owner: 'third', netns: await container() })).address).toBe('10.80.0.1');
    await network.remove();
    expect(await left()).toEqual(nothing);
  },
  60_000,
);

rootTest('a network of a small MTU has IPv4 alone, unless IPv6 is asked for, which is refused', async () => {
  await using scope = new ResourceStack();
  const { stateRoot, create, container } = await world(scope);
  await expect(create('both', { mtu: 1279, ipv6: 'unique-local' })).rejects.toMatchObject({
    code: 'ERR_NS_INVALID_SPEC',
    field: 'mtu',
  });
  expect(await listClaims({ stateRoot })).toEqual([]);
  const network = await create('small', { mtu: 1279 });
  const endpoint = await network.connect({ owner: 'first', netns: await container() });
  expect(endpoint.address6).toBeUndefined();
});

rootTest('what the host has by a route to itself is no subnet of a network', async () => {
  await using scope = new ResourceStack();
  const { host, create } = await world(scope);
  inside(host, 'ip', 'route', 'add', 'local', '172.18.0.0/15', 'dev', 'lo');
  const network = await create('web', { ipv6: 'none' });
  expect(network.record.subnets.map(({ subnet }) => subnet)).toEqual(['172.20.0.0/16']);
});

rootTest('networks of one name in two state roots have containers of one name', async () => {
  await using scope = new ResourceStack();
  const { create, container } = await world(scope);
  const other = mkdtempSync(join(tmpdir(), 'network-'));
  scope.defer(() => rmSync(other, { recursive: true }));
  const [one, two] = [
    await create('web', { subnet: '10.82.0.0/24', ipv6: 'none' }),
    await create('web', { subnet: '10.83.0.0/24', ipv6: 'none', stateRoot: other }),
  ];
  const [first, second] = [
    await one.connect({ owner: 'c', netns: await container() }),
    await two.connect({ owner: 'c', netns: await container() }),
  ];
  expect([first.address, second.address]).toEqual(['10.82.0.2', '10.83.0.2']);
});

rootTest('a /32 and a /128 have one address, no gateway, and no way out', async () => {
  await using scope = new ResourceStack();
  const { create, container, left } = await world(scope);
  const network = await create('one', { subnet: '10.81.0.7/32', ipv6: { subnet: 'fd81::7/128' } });
  expect(network.gateways).toEqual([]);
  const netns = await container();
  const endpoint = await network.connect({ owner: 'first', netns });
  expect(endpoint).toMatchObject({ address: '10.81.0.7', address6: 'fd81::7' });
  expect(JSON.parse(inside(netns, 'ip', '-j', 'route'))).toEqual([]);
  await expect(network.connect({ owner: 'second', netns: await container() })).rejects.toMatchObject({
    code: 'ERR_NS_ADDRESS_POOL_EXHAUSTED',
  });
  await network.remove();
  expect(await left()).toEqual(nothing);
});

rootTest(
  'of networks that want one subnet at once one gets it, and those that take any get one of their own',
  async () => {
    await using scope = new ResourceStack();
    const { host, create, left } = await world(scope);
    // What is the host's own: most of the first default pool.
    await link.createVeth({ name: 'uplink', netns: host, up: true, peer: { name: 'other', netns: host, up: true } });
    await address.add('uplink', '172.16.0.1/12', { netns: host });
    const wanted = await Promise.allSettled(
      Array.from({ length: 8 }, (_, number) => create(`wanted-${number}`, { subnet: '10.82.0.0/16', ipv6: 'none' })),
    );
    expect(codesOf(wanted)).toEqual([...Array(7).fill('ERR_NS_SUBNET_OVERLAP'), 'done']);
    for (const subnet of ['10.82.3.0/24', '10.0.0.0/8', '172.20.0.0/16', '0.0.0.0/0'])
      await expect(create('overlapping', { subnet, ipv6: 'none' })).rejects.toMatchObject({
        code: expect.stringMatching(/^ERR_NS_(SUBNET_OVERLAP|INVALID_SPEC)$/),
      });
    await expect(create('six', { ipv6: { subnet: '10.83.0.0/24' } })).rejects.toMatchObject({
      code: 'ERR_NS_INVALID_SPEC',
    });
    const any = await Promise.all(Array.from({ length: 12 }, (_, number) => create(`any-${number}`)));
    const subnets = any.flatMap(({ record }) => record.subnets.map(({ subnet }) => parseSubnet(subnet)));
    const taken = [...subnets, parseSubnet('172.16.0.0/12'), parseSubnet('10.82.0.0/16')];
    for (const [index, a] of taken.entries())
      for (const b of taken.slice(index + 1))
        expect({ a: a.text, b: b.text, overlap: a.family === b.family && overlaps(a, b) }).toMatchObject({
          overlap: false,
        });
    for (const result of wanted) if (result.status === 'fulfilled') await result.value.remove();
    for (const network of any) await network.remove();
    await link.remove('uplink', { netns: host });
    expect(await left()).toEqual(nothing);
  },
  90_000,
);

rootTest(
  'of more containers than a subnet has addresses those that come first get them, and the others leave nothing',
  async () => {
    await using scope = new ResourceStack();
    const { host, create, container, left } = await world(scope);
    const network = await create('small', { subnet: '10.84.0.0/29', ipv6: { subnet: 'fd84::/126' } });
    const members = await Promise.all(Array.from({ length: 9 }, container));
    const results = await Promise.allSettled(
      members.map((netns, number) => network.connect({ owner: `c${number}`, netns, ports: ['0:80', '0:53/udp'] })),
    );
    // The IPv6 subnet has two for containers.
    expect(codesOf(results)).toEqual([...Array(7).fill('ERR_NS_ADDRESS_POOL_EXHAUSTED'), 'done', 'done']);
    const endpoints = await network.endpoints();
    expect(endpoints).toHaveLength(2);

    // The ports, as the record, nft and ss have them.
    const ports = endpoints.flatMap((endpoint) => endpoint.ports);
    const key = (protocol: string, port: number) => `${protocol} ${port}`;
    const recorded = new Set(ports.map(({ protocol, hostPort }) => key(protocol, hostPort)));
    expect(recorded.size).toBe(4);
    for (const [version, family] of [
      ['publish4', 'inet'],
      ['publish6', 'inet6'],
    ] as const) {
      const shown = JSON.parse(inside(host, 'nft', '-j', 'list', 'map', 'inet', 'ns', version)) as {
        nftables: { map?: { elem: [{ concat: [string, number] }, { concat: [string, number] }][] } }[];
      };
      const elements = shown.nftables.flatMap(({ map }) => map?.elem ?? []);
      const ours = ports.filter(({ address: to }) => to.includes(':') === (family === 'inet6'));
      expect(new Set(elements.map(([{ concat: from }, { concat: to }]) => [...from, ...to].join(' ')))).toEqual(
        new Set(ours.map((port) => [port.protocol, port.hostPort, port.address, port.port].join(' '))),
      );
    }
    const listening = inside(host, 'ss', '-Hnltu')
      .trim()
      .split('\n')
      .map((line) => line.split(/\s+/))
      // The network's resolver is at the gateway, these are at every address.
      .filter(([, , , , local]) => local!.startsWith('*:'))
      .map(([protocol, , , , local]) => key(protocol!, Number(local!.slice(2))));
    expect(new Set(listening)).toEqual(recorded);
    await network.remove();
    expect(inside(host, 'ss', '-Hnltu')).toBe('');
    expect(await left()).toEqual(nothing);
  },
  60_000,
);
