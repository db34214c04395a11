import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  address,
  BridgeNetwork,
  type BridgeNetworkOptions,
  EgressPolicy,
  link,
  type NetNamespace,
  neighbour,
  sysctl,
} from '@ns/netns';
import { eventually, needs, notRoot } from '@ns/testing';
import { routerFrame, sendFrame, udpFrame } from './frames.ts';
import { hearUdp, inside, machine, nsenter, ResourceStack, scene } from './scene.ts';

const rootTest = needs(notRoot);

/* A bridge keeps addresses for itself; what is sent to most of them comes to the host as from the port, not from the bridge. */
const reserved = Array.from({ length: 16 }, (_, last) => `01:80:c2:00:00:0${last.toString(16)}`);

async function world(scope: ResourceStack, options: Partial<BridgeNetworkOptions> = {}) {
  const stateRoot = mkdtempSync(join(tmpdir(), 'reserved-'));
  scope.defer(() => rmSync(stateRoot, { recursive: true }));
  const host = await machine(scope);
  await trustSources(host);
  const network = scope.use(
    await BridgeNetwork.create({
      name: 'web',
      subnet: '10.77.0.0/24',
      ipv6: { subnet: 'fd77::/64' },
      netns: host,
      stateRoot,
      upstreams: [],
      ...options,
    }),
  );
  const bridgeMac = (await link.get(network.record.bridge, { netns: host }))!.mac!;
  return { host, network, bridgeMac };
}

/** As many hosts have it: a packet may come from where no answer would go. */
async function trustSources(host: NetNamespace): Promise<void> {
  for (const which of ['all', 'default']) await sysctl.set(`net.ipv4.conf.${which}.rp_filter`, 0, { netns: host });
}

/** Waits for what the host says to itself: what was sent before has come by then, or never will. */
async function saidLast(host: NetNamespace, heard: readonly string[]): Promise<void> {
  const program = `require('dgram').createSocket('udp4').send('host as host',9,'127.0.0.1',process.exit)`;
  execFileSync(...nsenter(host, process.execPath, '-e', program));
  expect(await eventually(() => heard.includes('host as host'))).toBe(true);
}

for (const owner of ['network', 'container'] as const)
  rootTest(
    `the policy of a ${owner} holds for the host's services, whatever address of the bridge a frame is for`,
    async () => {
      await using scope = new ResourceStack();
      const egress = { allow: [] };
      const { host, network } = await world(scope, owner === 'network' ? { egress } : {});
      const evil = await machine(scope);
      const { mac: fromMac, ...own } = await network.connect({
        owner: 'evil',
        netns: evil,
        ...(owner === 'container' ? { egress } : {}),
      });
      const heard = await hearUdp(scope, host);
      for (const toMac of reserved)
        for (const [from, to] of [
          [own.address!, '10.77.0.1'],
          [own.address6!, 'fd77::1'],
        ] as const)
          await sendFrame(evil, udpFrame({ fromMac, toMac, from, to }, `evil as ${from} to ${toMac}`));
      await saidLast(host, heard);
      expect(heard).toEqual(['host as host']);
    },
    30_000,
  );

rootTest(
  'a policy of a bridge made by hand holds, too, whatever its ports are called',
  async () => {
    await using scope = new ResourceStack();
    const { host, a, firewall } = await scene(scope);
    await trustSources(host);
    const subnets = ['10.88.1.0/24', 'fd00:1::/64'];
    await EgressPolicy.apply({ firewall, bridge: 'br0', subnets, policy: { allow: [] }, logGroup: 7 });
    const fromMac = (await link.get('eth0', { netns: a }))!.mac!;
    const heard = await hearUdp(scope, host);
    for (const toMac of reserved)
      for (const [from, to] of [
        ['10.88.1.2', '10.88.1.1'],
        ['fd00:1::2', 'fd00:1::1'],
      ] as const)
        await sendFrame(a, udpFrame({ fromMac, toMac, from, to }, `evil as ${from} to ${toMac}`));
    await saidLast(host, heard);
    expect(heard).toEqual(['host as host']);
  },
  30_000,
);

rootTest('a port without its bridge leads nowhere', async () => {
  await using scope = new ResourceStack();
  const { host, network } = await world(scope);
  const evil = await machine(scope);
  const { mac: fromMac, hostLink, address6: from } = await network.connect({ owner: 'evil', netns: evil });
  const toMac = (await link.get(hostLink, { netns: host }))!.mac!;
  await address.add('lo', 'fd99::1/128', { netns: host });
  const heard = await hearUdp(scope, host);
  await link.remove(network.record.bridge, { netns: host });
  await sendFrame(evil, udpFrame({ fromMac, toMac, from: from!, to: 'fd99::1' }, 'evil as evil'));
  await saidLast(host, heard);
  expect(heard).toEqual(['host as host']);
});

rootTest('a container is not one of the services of the host: it has none of their addresses', async () => {
  await using scope = new ResourceStack();
  const { host, network, bridgeMac: toMac } = await world(scope);
  const evil = await machine(scope);
  const { mac: fromMac, address: own } = await network.connect({ owner: 'evil', netns: evil });
  const heard = await hearUdp(scope, host);
  for (const [from, to] of [
    ['127.0.0.2', '10.77.0.1'],
    ['::1', 'fd77::1'],
    [own!, '10.77.0.1'],
  ] as const)
    await sendFrame(evil, udpFrame({ fromMac, toMac, from, to }, `evil as ${from}`));
  await saidLast(host, heard);
  expect(heard).toEqual([`evil as ${own}`, 'host as host']);
});

rootTest('a container with a policy of its own cannot tell the bridge that a neighbour is at its port', async () => {
  await using scope = new ResourceStack();
  const { host, network } = await world(scope);
  const [evil, victim] = [await machine(scope), await machine(scope)];
  const { address: from } = await network.connect({ owner: 'evil', netns: evil, egress: { allow: [] } });
  const { mac: fromMac, hostLink } = await network.connect({ owner: 'victim', netns: victim });
  inside(victim, 'ping', '-c1', '-W5', '10.77.0.1');
  for (const toMac of reserved)
    await sendFrame(evil, udpFrame({ fromMac, toMac, from: from!, to: '10.77.0.1' }, 'evil as victim'));
  const places = await neighbour.listFdb({ netns: host });
  expect(new Set(places.filter(({ mac }) => mac === fromMac).map((one) => one.link))).toEqual(new Set([hostLink]));
});

for (const options of [{ internal: true }, { ipv6: 'none' }] as const)
  rootTest(`a container is no router of the host; ${JSON.stringify(options)}`, async () => {
    await using scope = new ResourceStack();
    const { host, network } = await world(scope, options);
    await sysctl.set('net.ipv6.conf.all.forwarding', 0, { netns: host });
    const evil = await machine(scope);
    const { mac: fromMac, hostLink } = await network.connect({ owner: 'evil', netns: evil });
    const advertise = async () => {
      for (const toMac of [...reserved, '33:33:00:00:00:01'])
        await sendFrame(evil, routerFrame({ fromMac, toMac, from: 'fe80::bad', to: 'ff02::1' }, '2001:db8:bad::'));
      // An address or a route would come at once; for the frames to have come, two pings are enough.
      inside(evil, 'ping', '-c2', '-i0.2', '-W5', '10.77.0.1');
    };
    await advertise();
    // Also where somebody has emptied our table.
    inside(host, 'nft', 'flush', 'chain', 'inet', 'ns', 'guard');
    await advertise();
    expect(inside(host, 'ip', '-6', 'route')).not.toMatch(/default|2001:db8:bad/);
    expect(inside(host, 'ip', '-6', 'address', 'show', 'dev', hostLink)).toBe('');
  });
