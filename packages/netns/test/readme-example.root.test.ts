import { address, link, NetNamespace, route } from '@ns/netns';
import { needs, notRoot } from '@ns/testing';
import { withPinDirectory } from './pin-directory.ts';

needs(notRoot)('the example of the README', async () => {
  // Stands for the host, so that the machine's own network stays as it is.
  await using host = await NetNamespace.create();
  await withPinDirectory(async () => {
    await using netns = await NetNamespace.create({ name: `readme-${process.pid}` });

    await link.createBridge({ name: 'br0', up: true, netns: host });
    await address.add('br0', '10.88.0.1/24', { netns: host });

    await link.createVeth({
      name: 'veth0',
      netns: host,
      master: 'br0',
      up: true,
      peer: { name: 'eth0', netns, up: true },
    });
    await address.add('eth0', '10.88.0.2/24', { netns });
    await route.add({ to: 'default', via: '10.88.0.1', netns });

    const links = await link.list({ netns });
    await link.remove('br0', { netns: host });

    expect(links.map(({ name }) => name)).toEqual(expect.arrayContaining(['lo', 'eth0']));
  });
});
