import { Container, Network } from '../../src/index.ts';

/* Makes networks and containers, says so, and waits to be killed. */

await Network.create({ name: 'survivor' });
const own = await Container.create({ command: ['sleep', 'infinity'], egress: { allow: [] } });
const member = await Container.create({ command: ['sleep', 'infinity'], network: 'survivor', ports: ['0:80'] });
await own.start();
await member.start();
console.log(JSON.stringify({ ids: [own.id, member.id].sort() }));
setInterval(() => {}, 1000);
