import { Firewall } from '@ns/netns';

/*
 * Adds a network to the firewall and takes it out with all that is unused, again and again. Others do the same on the
 * same host: nothing but the kernel is between them. While a network is there, ports can be published.
 */

const [path, bridge, rounds] = process.argv.slice(2) as [string, string, string];
const netns = { path };
for (let round = 1; round <= Number(rounds); round++) {
  using firewall = await Firewall.open({ netns });
  const network = { bridge, subnets: [], internal: true };
  await firewall.addNetwork(network);
  const ports = [{ protocol: 'tcp', hostPort: Number(bridge.slice(2)), address: '10.0.0.2', port: 80 }] as const;
  for (let time = 0; time < 5; time++) {
    firewall.publish(ports);
    firewall.unpublish(ports);
  }
  firewall.removeNetwork(network);
  await Firewall.removeUnused({ netns });
}
console.log('done');
