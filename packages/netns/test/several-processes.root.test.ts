import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AddressPool, BridgeNetwork, NetNamespace, NetNamespacePool } from '@ns/netns';
import { eventually, needs, notRoot } from '@ns/testing';
import { client, inside, ResourceStack, serve } from './scene.ts';

const rootTest = needs(notRoot);
const LOOKUP = `const r=new (require('dns').promises.Resolver)({timeout:5000,tries:1});r.setServers([process.argv[1]]);r.resolve4(process.argv[2]).then((x)=>console.log(x[0]),(e)=>console.log(e.code))`;

async function world(scope: ResourceStack) {
  const stateRoot = mkdtempSync(join(tmpdir(), 'network-'));
  scope.defer(() => rmSync(stateRoot, { recursive: true }));
  const make = async () => scope.use(await NetNamespace.create());
  return { stateRoot, host: await make(), make };
}

rootTest(
  'of several that have a network open one serves the names of all, and another goes on when it ends',
  async () => {
    await using scope = new ResourceStack();
    const { stateRoot, host, make } = await world(scope);
    const options = { netns: host, stateRoot, upstreams: [] };
    const [a, b] = [await make(), await make()];
    await using first = await BridgeNetwork.create({ name: 'web', subnet: '10.77.0.0/24', ...options });
    await using second = await BridgeNetwork.open('web', options);
    await first.connect({ owner: 'a', netns: a, names: ['a'] });
    expect(await client(a, LOOKUP, '10.77.0.1', 'b')).toBe('ENOTFOUND');
    await second.connect({ owner: 'b', netns: b, names: ['b'] });
    expect(await client(a, LOOKUP, '10.77.0.1', 'b')).toBe('10.77.0.3');
    expect(await client(b, LOOKUP, '10.77.0.1', 'a')).toBe('10.77.0.2');
    await first.close();
    const takenOver = () => inside(host, 'ss', '-Hnul').includes('10.77.0.1:53');
    expect(await eventually(takenOver)).toBe(true);
    expect(await client(b, LOOKUP, '10.77.0.1', 'a')).toBe('10.77.0.2');
    await second.disconnect('a');
    expect(await client(b, LOOKUP, '10.77.0.1', 'a')).toBe('ENOTFOUND');
  },
);

rootTest('a name server that is none of ours is not taken for one', async () => {
  await using scope = new ResourceStack();
  const { stateRoot, host, make } = await world(scope);
  const options = { netns: host, stateRoot, upstreams: [] };
  const taken = { code: 'ERR_NS_NAME_SERVER_TAKEN', message: expect.stringContaining('port 53 of 10.77.0.1') };
  const serveEverywhere = (meanwhile: ResourceStack) =>
    serve(meanwhile, host, 'other', `require('dgram').createSocket('udp4').bind(53,()=>console.log('up'))`);
  const plan = { name: 'web', subnet: '10.77.0.0/24', ipv6: 'none', ...options } as const;
  {
    await using meanwhile = new ResourceStack();
    await serveEverywhere(meanwhile);
    await expect(BridgeNetwork.create(plan)).rejects.toMatchObject(taken);
    expect(JSON.parse(inside(host, 'ip', '-j', 'link', 'show', 'type', 'bridge'))).toEqual([]);
  }

  await using first = await BridgeNetwork.create(plan);
  await first.connect({ owner: 'a', netns: await make(), names: ['a'] });
  await first.close();
  // It can be opened, and removed; nobody is connected to it.
  const later = new ResourceStack();
  await serveEverywhere(later);
  await using second = await BridgeNetwork.open('web', options);
  await expect(second.connect({ owner: 'b', netns: await make() })).rejects.toMatchObject(taken);
  await later[Symbol.asyncDispose]();
  const served = () => inside(host, 'ss', '-Hnul').includes('10.77.0.1:53');
  expect(await eventually(served)).toBe(true);
  await second.connect({ owner: 'b', netns: await make() });
  await second.remove();
});

rootTest(
  'a policy changed by one process holds for the names another serves, and opening the network leaves it as it is',
  async () => {
    await using scope = new ResourceStack();
    const { stateRoot, host } = await world(scope);
    const options = { netns: host, stateRoot, upstreams: [] };
    await using first = await BridgeNetwork.create({ name: 'web', egress: { allow: ['a.example.com'] }, ...options });
    first.egress!.openResolved('a.example.com', [{ address: '192.0.2.7', ttlSec: 600 }]);
    const opened = () => inside(host, 'nft', 'list', 'table', 'inet', 'ns').includes('192.0.2.7');
    await using second = await BridgeNetwork.open('web', options);
    expect(opened()).toBe(true);
    await second.changeEgress({ allow: ['b.example.com'] });
    expect(opened()).toBe(false);
    await using third = await BridgeNetwork.open('web', options);
    expect(third.egress!.options).toEqual({ allow: ['b.example.com'] });
    // The one that serves learns of it with the next question.
    await client(host, LOOKUP, first.gateways[0]!, 'nobody.example.com');
    expect(first.egress!.allowsName('b.example.com')).toBe(true);
    expect(first.egress!.allowsName('a.example.com')).toBe(false);
  },
);

rootTest(
  '500 containers on one bridge, and 200 that come and go at once, leave nothing',
  async () => {
    await using scope = new ResourceStack();
    const { stateRoot, host } = await world(scope);
    await using network = await BridgeNetwork.create({
      name: 'crowd',
      subnet: '10.77.0.0/16',
      netns: host,
      stateRoot,
      upstreams: [],
    });
    const containers: NetNamespace[] = [];
    scope.defer(() => {
      for (const netns of containers) netns.close();
    });
    for (let index = 0; index < 500; index++) {
      const netns = await NetNamespace.create();
      containers.push(netns);
      await network.connect({ owner: `c${index}`, netns, names: [`c${index}`] });
    }
    const ports = JSON.parse(inside(host, 'bridge', '-j', 'link')) as { ifname: string }[];
    expect(ports).toHaveLength(500);
    const endpoints = await network.endpoints();
    expect(new Set(endpoints.map(({ address }) => address)).size).toBe(500);
    expect(new Set(endpoints.map(({ mac }) => mac)).size).toBe(500);
    const last = endpoints.find(({ owner }) => owner === 'c499')!;
    expect(await client(containers[0]!, LOOKUP, '10.77.0.1', 'c499')).toBe(last.address);
    expect(inside(containers[0]!, 'ping', '-c1', '-W5', last.address!)).toContain('1 received');

    // Half of them leave, and as many come back, all at once.
    const turn = async (index: number) => {
      await network.disconnect(`c${index}`);
      await network.connect({ owner: `c${index}`, netns: containers[index]!, ports: ['0:80'] });
      await network.disconnect(`c${index}`);
    };
    await Promise.all(Array.from({ length: 200 }, (_, index) => turn(index)));
    expect(await network.endpoints()).toHaveLength(300);
    expect(JSON.parse(inside(host, 'bridge', '-j', 'link'))).toHaveLength(300);
    expect(JSON.parse(inside(host, 'nft', '-j', 'list', 'map', 'inet', 'ns', 'publish4')).nftables[1].map.elem).toBe(
      undefined,
    );
    await Promise.all(Array.from({ length: 300 }, (_, index) => network.disconnect(`c${index + 200}`)));
    expect(JSON.parse(inside(host, 'bridge', '-j', 'link'))).toEqual([]);
    expect(AddressPool.open({ name: 'crowd', subnet: '10.77.0.0/16', stateRoot }).list()).toEqual([]);
  },
  90_000,
);

rootTest('a pool has namespaces ready, and gives up those nobody took', async () => {
  expect(() => NetNamespacePool.create({ size: 0 })).toThrow('size');
  using pool = NetNamespacePool.create({ size: 2 });
  expect(await eventually(() => pool.ready === 2)).toBe(true);
  using first = await pool.take();
  using second = await pool.take();
  using third = await pool.take();
  expect(new Set([first.id, second.id, third.id]).size).toBe(3);
  expect(inside(first, 'ip', '-j', 'link')).toContain('"UP"');
  expect(await eventually(() => pool.ready === 2)).toBe(true);
  pool.close();
  expect(pool.ready).toBe(0);

  expect(() => NetNamespacePool.create({ quietMs: -1 })).toThrow('quietMs');
  using calm = NetNamespacePool.create({ size: 1, quietMs: 1_000 });
  using _made = await calm.take();
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(calm.ready).toBe(0);
  expect(await eventually(() => calm.ready === 1)).toBe(true);
});
