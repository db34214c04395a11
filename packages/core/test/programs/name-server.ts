import { BridgeNetwork } from '@ns/netns';

/* Makes a network and serves its names until it is killed. */

const [stateRoot, path, upstream] = process.argv.slice(2) as [string, string, string];
await BridgeNetwork.create({
  name: 'served',
  subnet: '10.79.0.0/24',
  ipv6: 'none',
  netns: { path },
  stateRoot,
  upstreams: [upstream],
});
console.log('serving');
setInterval(() => {}, 1000);
