import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Container, Network, prune } from '@ns/core';
import { link, NetNamespace, neighbour } from '@ns/netns';
import { needs, notRoot } from '@ns/testing';
import { get, idle, serve, useOwnHost } from './network-host.ts';

const { stateRoot } = useOwnHost();

/** Why links of a kind cannot be made here; undefined when they can. */
async function missing(kind: 'macvlan' | 'ipvlan' | 'vxlan'): Promise<string | undefined> {
  if (notRoot !== undefined) return notRoot;
  using netns = await NetNamespace.create();
  try {
    if (kind === 'vxlan') await link.createVxlan({ name: 'try', id: 1, netns });
    else {
      await link.createVeth({ name: 'below', netns, peer: { name: 'peer', netns } });
      await (kind === 'macvlan' ? link.createMacvlan : link.createIpvlan)({ name: 'try', parent: 'below', netns });
    }
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

for (const driver of ['macvlan', 'ipvlan'] as const) {
  needs(await missing(driver))(`${driver}: containers are machines of the network of a link`, async () => {
    await link.createVeth({ name: 'lan0', up: true, peer: { name: 'lan1', up: true } });
    try {
      await using network = await Network.create({
        name: driver,
        driver,
        parent: 'lan0',
        subnet: '10.50.0.0/24',
        dns: [],
      });
      await using a = await serve(driver, { name: 'a', network });
      await using b = await idle({ network: { network, ip: '10.50.0.9' } });
      // Who had the address of the next one in mind finds him there.
      if (driver === 'macvlan') expect(b.networks[driver]!.mac).toBe('02:42:0a:32:00:09');
      expect(await get(b, 'http://a/')).toBe(`${driver} for ::ffff:10.50.0.9`);
      await network.disconnect(b);
      expect((await b.exec('ls', ['/sys/class/net'])).stdout).toBe('lo\n');
      await network.connect(b);
      expect(await get(b, `http://${a.networks[driver]!.address}/`)).toContain(driver);
      await expect(Container.create({ command: ['true'], network, ports: ['80'] })).rejects.toMatchObject({
        code: 'ERR_NS_INVALID_SPEC',
      });
      await expect(Container.create({ command: ['true'], network, egress: {} })).rejects.toMatchObject({
        code: 'ERR_NS_EGRESS_BYPASS',
      });
    } finally {
      await link.remove('lan0');
    }
  });
}

for (const driver of ['macvlan', 'ipvlan'] as const) {
  needs(await missing(driver))(
    `${driver}: an address is free for the next one as soon as its container is gone`,
    async () => {
      await link.createVeth({ name: 'lan0', up: true, peer: { name: 'lan1', up: true } });
      try {
        await using network = await Network.create({
          name: driver,
          driver,
          parent: 'lan0',
          subnet: '10.50.0.0/24',
          dns: [],
        });
        for (let round = 0; round < 5; round++) {
          await using c = await idle({ network: { network, ip: '10.50.0.9' } });
          await c.restart({ timeout: 0 });
        }
      } finally {
        await link.remove('lan0');
      }
    },
  );
}

needs(await missing('vxlan'))('vxlan: a tunnel with its peers in the bridge', async () => {
  await using network = await Network.create({
    name: 'overlay',
    driver: 'vxlan',
    subnet: '10.60.0.0/16',
    ipRange: '10.60.1.0/24',
    ipv6: false,
    vni: 77,
    local: '127.0.0.1',
    peers: ['192.0.2.7', '192.0.2.8'],
    dns: [],
  });
  const { link: bridge, mtu } = await network.inspect();
  expect(mtu).toBe(1450);
  const tunnel = (await link.list()).find(({ name }) => name.startsWith('nsx'))!;
  expect(tunnel).toMatchObject({ mtu: 1450, kind: 'vxlan' });
  expect(tunnel.master).toBe(bridge);
  const peers = (await neighbour.listFdb({ link: tunnel.name })).flatMap(({ destination }) => destination ?? []);
  expect(peers.sort()).toEqual(['192.0.2.7', '192.0.2.8']);
  await using a = await serve('over', { name: 'a', network });
  await using b = await idle({ network });
  expect(b.networks.overlay!.address).toMatch(/^10\.60\.1\./);
  expect(await get(b, 'http://a/')).toContain('over for');
  await b.remove({ force: true });
  await a.remove({ force: true });
  await network.remove();
  expect((await link.list()).map(({ name }) => name)).toEqual(['lo']);
});

needs(await missing('vxlan'))('vxlan: what fails leaves nothing, also after the tunnel was made', async () => {
  const options = {
    name: 'failing',
    driver: 'vxlan',
    subnet: '10.60.0.0/16',
    ipv6: false,
    vni: 76,
    local: '127.0.0.1',
    dns: [],
  } as const;
  const links = async () => (await link.list()).map(({ name }) => name);
  // Of the other version than its own end.
  await expect(Network.create({ ...options, peers: ['192.0.2.7', 'fd00::7'] })).rejects.toThrow();
  expect(await links()).toEqual(['lo']);
  // Another network's link has the number: it stays.
  await link.createVxlan({ name: 'another', id: 76 });
  try {
    await expect(Network.create({ ...options, peers: [] })).rejects.toMatchObject({ code: 'EEXIST' });
    expect(await links()).toEqual(['lo', 'another']);
  } finally {
    await link.remove('another');
  }
  await using network = await Network.create({ ...options, peers: ['192.0.2.7'] });
  expect(await links()).toEqual(['lo', (await network.inspect()).link, expect.stringMatching(/^nsx/)]);
});

needs(await missing('vxlan'))('an overlay whose process died while it removed it: prune goes on', async () => {
  const network = await Network.create({
    name: 'half',
    driver: 'vxlan',
    subnet: '10.60.0.0/16',
    ipv6: false,
    vni: 78,
    local: '127.0.0.1',
    peers: [],
    dns: [],
  });
  await network.close();
  // What a process writes first, and the next one finds.
  const file = join(stateRoot, 'networks', 'half', 'network.json');
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), stage: 'removing' }));
  await expect(Network.get('half')).rejects.toMatchObject({ code: 'ERR_NS_NETWORK_NOT_FOUND' });
  expect(await prune()).toMatchObject({ networks: ['half'], failed: [] });
  expect((await link.list()).map(({ name }) => name)).toEqual(['lo']);
  expect(await Network.list()).toEqual([]);
});

needs(notRoot)('what a driver needs is said, and what the kernel lacks', async () => {
  for (const options of [
    { name: 'x', driver: 'macvlan' },
    { name: 'x', driver: 'macvlan', parent: 'nothing', subnet: '10.50.0.0/24' },
    { name: 'x', driver: 'macvlan', parent: 'lo', subnet: '10.50.0.0/24', egress: {} },
    { name: 'x', driver: 'macvlan', parent: 'lo', subnet: '10.50.0.0/24', mode: 'l2' },
    { name: 'x', driver: 'macvlan', parent: 'lo', subnet: '10.50.0.0/24', ipv6: true },
    { name: 'x', driver: 'macvlan', parent: 'lo', subnet: '10.50.0.0/24', ipv6: { subnet: '10.51.0.0/24' } },
    { name: 'x', driver: 'macvlan', parent: 'lo', subnet: 'fd00:1::/64', ipv6: { subnet: 'fd00:2::/64' } },
    { name: 'x', driver: 'macvlan', parent: 'lo', subnet: '10.50.0.0/24', vni: 1 },
    { name: 'x', driver: 'vxlan' },
    { name: 'x', driver: 'overlay' },
    { name: 'x', parent: 'lo' },
    { name: 'x', mode: 'l2' },
    { name: 'x', peers: ['192.0.2.1'] },
  ])
    await expect(Network.create(options as never)).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
  expect(await Network.list()).toEqual([]);
});
