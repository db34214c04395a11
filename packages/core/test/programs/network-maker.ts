import { Network } from '@ns/core';
import { BridgeNetwork } from '@ns/netns';

/* Claims the name of a network; then it dies, or stays before the first step of making it. */

const [name, fate] = process.argv.slice(2) as [string, 'dies' | 'stays'];
BridgeNetwork.create = async () => {
  if (fate === 'dies') process.kill(process.pid, 'SIGKILL');
  console.log('claimed');
  return new Promise(() => setInterval(() => {}, 1000));
};
await Network.create({ name, dns: [] });
