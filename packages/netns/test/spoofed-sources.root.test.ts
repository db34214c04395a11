import { EgressPolicy, type Firewall, link, type NetNamespace } from '@ns/netns';
import { needs, notRoot } from '@ns/testing';
import { type Path, sendFrame, udpFrame } from './frames.ts';
import { client, hearUdp, ResourceStack, scene } from './scene.ts';

const rootTest = needs(notRoot);

/* An answer to whoever began a connection is let through: so nobody is to begin one in the name of others. */

const SAY = `const [,host,port]=process.argv;require('dgram').createSocket(host.includes(':')?'udp6':'udp4').send('host as itself',+port,host,()=>process.exit())`;

interface Closed {
  readonly firewall: Firewall;
  readonly outside: NetNamespace;
  readonly c: NetNamespace;
  readonly host: NetNamespace;
}

/** Whom a container on br0 may not speak to, and what sees to that. */
const closed: Readonly<
  Record<string, { at: keyof Omit<Closed, 'firewall'>; addresses: string[]; close(at: Closed): Promise<void> }>
> = {
  'outside an internal network': {
    at: 'outside',
    addresses: ['198.51.100.2', '2001:db8:1::2'],
    close: async ({ firewall }) => {
      firewall.removeNetwork(br0);
      await firewall.addNetwork({ ...br0, internal: true });
    },
  },
  'what a policy does not allow': {
    at: 'outside',
    addresses: ['198.51.100.2', '2001:db8:1::2'],
    close: allowNothing,
  },
  'the host, by a policy': { at: 'host', addresses: ['10.88.1.1', 'fd00:1::1'], close: allowNothing },
  'a container of another network': { at: 'c', addresses: ['10.88.2.2', 'fd00:2::2'], close: async () => {} },
};

const br0 = { bridge: 'br0', subnets: ['10.88.1.0/24', 'fd00:1::/64'] };
async function allowNothing({ firewall }: Closed): Promise<void> {
  await EgressPolicy.apply({ firewall, ...br0, policy: { allow: [] }, logGroup: 30_001 });
}

for (const [whom, { at, addresses, close }] of Object.entries(closed))
  for (const target of addresses)
    rootTest(
      `${whom}, ${target}, does not become an answer by a packet in its name`,
      async () => {
        await using scope = new ResourceStack();
        const { host, outside, a, c, firewall } = await scene(scope);
        const six = target.includes(':');
        const own = six ? 'fd00:1::2' : '10.88.1.2';
        const published = six ? '2001:db8:1::1' : '198.51.100.1';
        firewall.publish([{ protocol: 'udp', hostAddress: published, hostPort: 9, address: own, port: 9 }]);
        await close({ firewall, outside, c, host });
        const heard = await hearUdp(scope, { outside, c, host }[at]);
        const path: Omit<Path, 'from' | 'to'> = {
          fromMac: (await link.get('eth0', { netns: a }))!.mac!,
          toMac: (await link.get('br0', { netns: host }))!.mac!,
        };
        for (const to of [own, published]) {
          await sendFrame(a, udpFrame({ ...path, from: target, to }, `${target} to ${to}`));
          await sendFrame(a, udpFrame({ ...path, from: own, to: target }, `a as who was asked by way of ${to}`));
        }
        await client(host, SAY, target, 9);
        await client(host, SAY, target, 9);
        expect(new Set(heard)).toEqual(new Set(['host as itself']));
      },
      30_000,
    );
