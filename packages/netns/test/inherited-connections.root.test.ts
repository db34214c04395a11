import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BridgeNetwork, type BridgeNetworkOptions, type ConnectOptions, type NetNamespace } from '@ns/netns';
import { needs, notRoot } from '@ns/testing';
import { client, hostAndOutside, inside, machine, ResourceStack, serve, UDP_SERVER } from './scene.ts';

const rootTest = needs(notRoot);

/* Connections outlive who began them. Whoever has the address next is not to go on with them. */

/** Asks from port 7777. */
const ASK = `const [,host,port]=process.argv;const s=require('dgram').createSocket('udp4');s.on('message',(d)=>{console.log(''+d);process.exit()});setTimeout(()=>{console.log('TIMEOUT');process.exit()},1000);s.on('error',(e)=>{});s.bind(7777,()=>s.send('hello',+port,host))`;
/** Answers on port 7777. */
const ANSWER = `const s=require('dgram').createSocket('udp4');s.on('message',(d,r)=>s.send('answer',r.port,r.address));s.bind(7777,()=>console.log('up'))`;

/** A network that is gone, whose container spoke with the outside; and what one with the same subnet is made with. */
const begun = {
  'inside asked outside': async (_scope: ResourceStack, { netns }: Machines) =>
    expect(await client(netns, ASK, '198.51.100.2', 5353)).toBe('outside heard hello'),
  'outside asked inside': async (scope: ResourceStack, { netns, outside }: Machines) => {
    await serve(scope, netns, '', ANSWER);
    const from5353 = ASK.replace('7777', '5353');
    expect(await client(outside, from5353, '198.51.100.1', 5000)).toBe('answer');
  },
};
interface Machines {
  readonly netns: NetNamespace;
  readonly outside: NetNamespace;
}

const successors: readonly (readonly [Partial<BridgeNetworkOptions>, Partial<ConnectOptions>])[] = [
  [{ egress: { allow: [] } }, {}],
  [{}, { egress: { allow: [] } }],
  [{ internal: true }, {}],
];

for (const [who, begin] of Object.entries(begun))
  for (const [options, wanted] of successors)
    rootTest(
      `where ${who} before, the next on the address does not: ${JSON.stringify([options, wanted])}`,
      async () => {
        await using scope = new ResourceStack();
        const stateRoot = mkdtempSync(join(tmpdir(), 'inherited-'));
        scope.defer(() => rmSync(stateRoot, { recursive: true }));
        const { host, outside } = await hostAndOutside(scope);
        const create = async (name: string, more: Partial<BridgeNetworkOptions>) =>
          scope.use(
            await BridgeNetwork.create({ name, subnet: '10.77.0.0/24', ipv6: 'none', netns: host, stateRoot, ...more }),
          );
        const before = await create('before', { upstreams: [] });
        const first = await machine(scope);
        await before.connect({ owner: 'first', netns: first, ports: ['5000:7777/udp'] });
        if (who === 'inside asked outside') await serve(scope, outside, 'outside', UDP_SERVER);
        await begin(scope, { netns: first, outside });
        if (who !== 'inside asked outside') await serve(scope, outside, 'outside', UDP_SERVER);
        // Where the container alone has a policy, the network may be the same.
        const network = wanted.egress
          ? before
          : await before.remove().then(() => create('after', { upstreams: [], ...options }));
        if (wanted.egress) await before.disconnect('first');
        const next = await machine(scope);
        const { address } = await network.connect({ owner: 'next', netns: next, ...wanted, address: '10.77.0.2' });
        expect(address).toBe('10.77.0.2');
        if (options.internal) inside(next, 'ip', 'route', 'add', 'default', 'via', '10.77.0.1');
        expect(await client(next, ASK, '198.51.100.2', 5353)).toBe('TIMEOUT');
      },
      60_000,
    );
