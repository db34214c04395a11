import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { address, BridgeNetwork, link, NetNamespace, route } from '@ns/netns';
import { eventually, needs, notRoot } from '@ns/testing';
import { routerFrame, sendFrame } from './frames.ts';
import { inside, ResourceStack } from './scene.ts';

const rootTest = needs(notRoot);
const ALL_NODES = { toMac: '33:33:00:00:00:01', to: 'ff02::1' };
const PREFIX = '2001:db8:bad::';

/** What a namespace has learnt from routers. */
async function learnt(netns: NetNamespace): Promise<string[]> {
  const routes = await route.list({ netns, family: 'inet6' });
  const addresses = await address.list({ netns });
  return [
    ...routes.filter(({ protocol, to }) => protocol === 'ra' || to.startsWith('2001:db8:bad')).map(({ to }) => to),
    ...addresses.filter((one) => one.address.startsWith('2001:db8:bad')).map((one) => one.address),
  ];
}

for (const ipv6 of ['none', 'unique-local'] as const)
  rootTest(
    `a container that calls itself a router is believed by neither neighbour nor host; ipv6: ${ipv6}`,
    async () => {
      await using scope = new ResourceStack();
      const stateRoot = mkdtempSync(join(tmpdir(), 'router-'));
      scope.defer(() => rmSync(stateRoot, { recursive: true }));
      const make = async () => scope.use(await NetNamespace.create());
      const [host, evil, victim, simple] = [await make(), await make(), await make(), await make()];
      const ready = scope.use(await NetNamespace.create({ newLinks: 'silent' }));
      await using network = await BridgeNetwork.create({
        name: 'web',
        subnet: '10.77.0.0/24',
        ipv6,
        internal: true,
        netns: host,
        stateRoot,
        upstreams: [],
      });
      const { mac: fromMac } = await network.connect({ owner: 'evil', netns: evil });
      await network.connect({ owner: 'victim', netns: victim });
      await network.connect({ owner: 'ready', netns: ready });
      // Somebody who does believe it shows that the frame is good and arrives.
      await link.createVeth({
        name: 'nsvsimple',
        netns: host,
        master: network.record.bridge,
        up: true,
        peer: { name: 'eth0', netns: simple, up: true },
      });
      const lie = routerFrame({ fromMac, from: 'fe80::bad', ...ALL_NODES }, PREFIX);
      const believed = async () => {
        await sendFrame(evil, lie);
        return (await learnt(simple)).includes('default');
      };
      expect(await eventually(believed)).toBe(true);
      for (const netns of [victim, ready, host]) expect(await learnt(netns)).toEqual([]);
      const global = inside(ready, 'ip', '-6', 'address', 'show', 'dev', 'eth0', 'scope', 'global');
      expect(global !== '').toBe(ipv6 !== 'none');
      // Where there is no IPv6, none of it is on the links.
      if (ipv6 === 'none')
        for (const [netns, dev] of [
          [victim, 'eth0'],
          [ready, 'eth0'],
          [host, network.record.bridge],
        ] as const)
          expect(inside(netns, 'ip', '-6', 'address', 'show', 'dev', dev)).toBe('');
    },
  );
