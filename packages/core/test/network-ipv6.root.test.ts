import { Network } from '@ns/core';
import { needs, notRoot } from '@ns/testing';
import { get, idle, serve, useOwnHost } from './network-host.ts';

const test = needs(notRoot);
useOwnHost();

for (const options of [{}, { ipv6: true }])
  test(`an IPv6 subnet is the only one of its network, with ${JSON.stringify(options)}`, async () => {
    await using network = await Network.create({ name: 'six', subnet: 'fd00:77::/64', dns: [], ...options });
    expect((await network.inspect()).subnets).toEqual([{ subnet: 'fd00:77::/64', gateway: 'fd00:77::1' }]);
    await using web = await serve('six', { name: 'web', network, ports: ['0:80'] });
    await using client = await idle({ network: { network, ip6: 'fd00:77::99' } });
    expect(client.networks.six).toMatchObject({ address: undefined, address6: 'fd00:77::99' });
    expect(await get(client, 'http://web/')).toBe('six for fd00:77::99');
    for (const host of ['127.0.0.1', '[::1]'])
      expect(await (await fetch(`http://${host}:${web.ports[0]!.hostPort}/`)).text()).toBe('six for fd00:77::1');
  });

test('range, gateway and auxiliary addresses of a network of IPv6 alone', async () => {
  const subnet = 'fd00:77::/64';
  const options = { gateway: 'fd00:77::ff', ipRange: 'fd00:77::100/120', auxAddresses: { router: 'fd00:77::100' } };
  await using network = await Network.create({ name: 'six', subnet, ...options });
  expect((await network.inspect()).subnets).toEqual([{ subnet, gateway: 'fd00:77::ff' }]);
  await using c = await idle({ network });
  expect(c.networks.six?.address6).toBe('fd00:77::101');
});

for (const [field, options] of [
  ['subnet', { ipv6: false }],
  ['subnet', { ipv6: { subnet: 'fd00:78::/64' } }],
  ['mtu', { mtu: 1000 }],
  ['gateway', { gateway: '10.1.0.1' }],
] as const)
  test(`an IPv6 subnet excludes ${JSON.stringify(options)}`, async () => {
    await expect(Network.create({ name: 'six', subnet: 'fd00:77::/64', ...options })).rejects.toMatchObject({
      code: 'ERR_NS_INVALID_SPEC',
      field,
    });
    expect(await Network.list()).toEqual([]);
  });
